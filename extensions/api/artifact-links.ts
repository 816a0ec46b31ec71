import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Artifact, ArtifactName, ArtifactShelf } from '../../pipeline/artifact.ts'
import type { Context } from '../../pipeline/factory.ts'
import { reject, retry } from '../../pipeline/fault.ts'
import type { Host } from '../../pipeline/host.ts'
import { absent } from './artifacts.ts'
import { originOf } from './audited.ts'
import { rangeOf } from './range.ts'

/** Each may hold an artifact in memory, until whoever asked has it. */
const MAX_AT_ONCE = 4

/**
 * Serves artifacts to whoever has a link of ours: the signature is all the authority, so neither a token nor an origin is
 * asked for. What it serves is data of strangers: an attachment that no browser may run.
 */
export class ArtifactLinks {
  readonly #host: Host
  readonly #context: Pick<Context, 'audit'>
  #now = 0

  constructor(host: Host, context: Pick<Context, 'audit'>) {
    this.#host = host
    this.#context = context
  }

  /** Resolves once it is answered, with the status; throws a Fault where nothing was. */
  async serve(
    name: ArtifactName,
    request: IncomingMessage,
    response: ServerResponse,
    signal: AbortSignal,
  ): Promise<number> {
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.setHeader('allow', 'GET, HEAD')
      throw reject('NOT_FOUND', `a link is for GET, not for ${request.method}`)
    }
    const shelf = await this.#shelfOf(name, request)
    if (this.#now >= MAX_AT_ONCE) throw retry('OVERLOADED', `${MAX_AT_ONCE} artifacts are being read already`)
    this.#now++
    try {
      signal.throwIfAborted()
      if (!(await shelf.has(name, signal))) throw absent()
      await this.#note(name, request)
      const artifact = await shelf.read(name, signal)
      return answer(name, artifact, request, response)
    } finally {
      // Who has gone already will not go again.
      if (signal.aborted) this.#now--
      else response.once('close', () => this.#now--)
    }
  }

  async #shelfOf(name: ArtifactName, { url = '' }: IncomingMessage): Promise<ArtifactShelf> {
    const query = new URLSearchParams(url.split('?', 2)[1])
    const shelf = this.#host.artifactShelves().find(({ id }) => id === query.get('shelf'))
    if (shelf !== undefined && (await shelf.honours(name, query))) return shelf
    throw reject('PERMISSION_DENIED', 'the link is not one of ours, or has expired: ask for another')
  }

  /** Before the data leaves. */
  async #note({ tenant, sha256 }: ArtifactName, request: IncomingMessage): Promise<void> {
    const { address = '', userAgent } = originOf(request)
    await this.#context.audit?.append({
      actor: { id: 'link', kind: 'sender' },
      action: 'artifact.read',
      object: sha256,
      tenant,
      outcome: 'ok',
      address,
      ...(userAgent !== undefined && { userAgent }),
    })
  }
}

function answer(
  { sha256 }: ArtifactName,
  { bytes, mediaType }: Artifact,
  request: IncomingMessage,
  response: ServerResponse,
): number {
  const headers = {
    'accept-ranges': 'bytes',
    'cache-control': 'private, no-store',
    'content-disposition': `attachment; filename="${sha256}"`,
    'content-security-policy': "default-src 'none'; sandbox",
    'content-type': mediaType,
    'cross-origin-resource-policy': 'same-origin',
    etag: `"${sha256}"`,
    'referrer-policy': 'no-referrer',
    'x-content-type-options': 'nosniff',
  }
  const range = rangeOf(request.headers.range, bytes.length)
  if (range === 'none') {
    response.writeHead(416, { ...headers, 'content-range': `bytes */${bytes.length}` }).end()
    return 416
  }
  const [first, end] = range ?? [0, bytes.length]
  const status = range === undefined ? 200 : 206
  response.writeHead(status, {
    ...headers,
    'content-length': end - first,
    ...(range !== undefined && { 'content-range': `bytes ${first}-${end - 1}/${bytes.length}` }),
  })
  if (request.method === 'HEAD') response.end()
  else response.end(bytes.subarray(first, end))
  return status
}
