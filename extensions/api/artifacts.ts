import { artifactRef, parseArtifactRef, type ArtifactName } from '../../pipeline/artifact.ts'
import { reject } from '../../pipeline/fault.ts'
import type { Host } from '../../pipeline/host.ts'
import { ok, type Call, type Reply, type Route } from './route.ts'

const PATH = '/v1/artifacts'

/** `GET /v1/artifacts/{tenant}/{sha256}`: a signed URL for what was moved out of a span. Relative to this one where the API serves it. */
export function artifactRoute(host: Host): Route {
  return {
    method: 'GET',
    path: `${PATH}/{tenant}/{sha256}`,
    role: 'read',
    scope: 'tenant',
    audit: { action: 'artifact.link' },
    handle: (call) => link(host, call),
  }
}

async function link(host: Host, { params, principal, signal }: Call): Promise<Reply> {
  const name = parseArtifactRef(`${params['tenant']}/${params['sha256']}`)
  // Whose it is not, is not told whether it is there.
  if (name === undefined || (principal.tenant ?? name.tenant) !== name.tenant) throw absent()
  for (const shelf of host.artifactShelves()) {
    if (!(await shelf.has(name, signal))) continue
    const { url, query, expiresMs } = await shelf.link(name)
    return ok({
      ref: artifactRef(name),
      url: url ?? `${contentPath(name)}?${query?.toString() ?? ''}`,
      expires: new Date(expiresMs).toISOString(),
    })
  }
  throw absent()
}

/** As metrics name it. */
export const CONTENT_PATH = `${PATH}/{tenant}/{sha256}/content`

function contentPath({ tenant, sha256 }: ArtifactName): string {
  return `${PATH}/${tenant}/${sha256}/content`
}

/** What artifact a path is the content of. */
export function contentName(path: string): ArtifactName | undefined {
  const [, middle = ''] = /^\/v1\/artifacts\/(.+)\/content$/.exec(path) ?? []
  return parseArtifactRef(middle)
}

export function absent() {
  return reject('NOT_FOUND', 'there is no such artifact here')
}
