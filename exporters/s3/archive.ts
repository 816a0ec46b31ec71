import { createHash } from 'node:crypto'
import type { Archive, ArchivedObject, ArchivedRange, ArchiveScope } from '../../pipeline/archive/archive.ts'
import type { Bucket, Listed } from '../../pipeline/bucket/bucket.ts'
import { reject } from '../../pipeline/fault.ts'
import type { Config } from './config.ts'
import { MANIFEST_VERSION, MANIFESTS, rangeOf, rootOf, type Manifest } from './manifest.ts'

/** Manifests that are read at once. */
const AT_ONCE = 8
/** Larger ones are none of ours, nor of the collector's. */
const MAX_OBJECT_BYTES = 256 * 1024 * 1024
/** Clocks of senders may be ahead of the store's. */
const AHEAD_MS = 86_400_000

/**
 * What the exporter has written, by its manifests: an object that none lists is from a delivery that has not ended. Where
 * there are none, or a prefix is named, all objects of traces: as the collector's awss3 exporter writes them.
 */
export class S3Archive implements Archive {
  readonly #config: Config
  readonly #bucket: () => Bucket
  readonly #faultOf: (error: unknown) => Error

  constructor(config: Config, bucket: () => Bucket, faultOf: (error: unknown) => Error) {
    this.#config = config
    this.#bucket = bucket
    this.#faultOf = faultOf
  }

  async *list(scope: ArchiveScope, signal: AbortSignal): AsyncGenerator<ArchivedObject> {
    try {
      let hasManifests = false
      if (scope.prefix === undefined) {
        for await (const object of this.#byManifests(scope, () => (hasManifests = true), signal)) yield object
      }
      if (!hasManifests) yield* this.#byName(scope, signal)
    } catch (error) {
      throw this.#faultOf(error)
    }
  }

  async *open({ name, sha256, bytes }: ArchivedObject, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    if (bytes > MAX_OBJECT_BYTES) {
      throw reject('BATCH_TOO_LARGE', `it is larger than ${MAX_OBJECT_BYTES} bytes`)
    }
    const found = await this.#bucket()
      .get(name, signal)
      .catch((error: unknown) => {
        throw this.#faultOf(error)
      })
    if (found === undefined) throw reject('NOT_FOUND', 'it is not there any more')
    const { body } = found
    if (sha256 !== undefined && createHash('sha256').update(body).digest('hex') !== sha256) {
      throw reject('BATCH_MALFORMED', 'its bytes are not those that its manifest names (SHA-256)')
    }
    yield body
  }

  async *ranges(signal: AbortSignal): AsyncGenerator<ArchivedRange> {
    try {
      for await (const { key } of this.#bucket().list(this.#manifests, signal)) {
        const range = rangeOf(key)
        if (range !== undefined) yield range
      }
    } catch (error) {
      throw this.#faultOf(error)
    }
  }

  get #manifests(): string {
    return under(rootOf(this.#config), `${MANIFESTS}/`)
  }

  async *#byManifests(
    { fromMs, toMs, tenant, after = '' }: ArchiveScope,
    found: () => void,
    signal: AbortSignal,
  ): AsyncGenerator<ArchivedObject> {
    // A position is the manifest's key and the object's place in it.
    const [afterKey = ''] = after.split('\n')
    let group: Listed[] = []
    const read = async (): Promise<Dated[]> => {
      const manifests = await Promise.all(group.map((listed) => this.#manifest(listed.key, signal)))
      group = []
      return manifests.flat()
    }
    const wanted = (object: Dated) =>
      object.position > after &&
      (tenant === undefined || object.tenant === tenant) &&
      object.firstMs < toMs &&
      object.lastMs >= fromMs
    for await (const listed of this.#bucket().list(this.#manifests, signal)) {
      if (!listed.key.endsWith('.json')) continue
      found()
      if (listed.key < afterKey || listed.putMs < fromMs - AHEAD_MS) continue
      group.push(listed)
      if (group.length >= AT_ONCE) yield* (await read()).filter(wanted)
    }
    yield* (await read()).filter(wanted)
  }

  async #manifest(key: string, signal: AbortSignal): Promise<Dated[]> {
    const found = await this.#bucket().get(key, signal)
    if (found === undefined) return []
    const manifest = parsed(key, found.body)
    const version: number = manifest.v
    if (version !== MANIFEST_VERSION) {
      throw reject(
        'STATE_VERSION',
        `${key} has format ${version}; this weir reads up to 1: run the newer version`,
      )
    }
    const range = rangeOf(key)
    return manifest.objects.map((object, index) => ({
      name: object.key,
      position: `${key}\n${String(index).padStart(6, '0')}`,
      bytes: object.bytes,
      tenant: object.tenant,
      sha256: object.sha256,
      range,
      firstMs: Number(BigInt(object.first_time_unix_nano) / 1_000_000n),
      lastMs: Number(BigInt(object.last_time_unix_nano) / 1_000_000n),
    }))
  }

  async *#byName(
    { fromMs, tenant, after = '', prefix }: ArchiveScope,
    signal: AbortSignal,
  ): AsyncGenerator<ArchivedObject> {
    const root = prefix ?? rootOf(this.#config)
    for await (const { key, bytes, putMs } of this.#bucket().list(root, signal)) {
      const named = /(?:^|\/)tenant=([a-z0-9_-]+)\//.exec(key)?.[1]
      const isOther = tenant !== undefined && named !== undefined && named !== tenant
      if (isOther || key <= after || putMs < fromMs - AHEAD_MS || !isTraces(key)) continue
      yield { name: key, position: key, bytes, tenant: named }
    }
  }
}

interface Dated extends ArchivedObject {
  readonly firstMs: number
  readonly lastMs: number
}

/** `traces_<unique>` behind any `file_prefix`, as both exporters name them. */
function isTraces(key: string): boolean {
  const name = key.slice(key.lastIndexOf('/') + 1)
  return name.includes('traces_') && !key.includes(`${MANIFESTS}/`)
}

function parsed(key: string, body: Buffer): Manifest {
  try {
    return JSON.parse(body.toString()) as Manifest
  } catch (error) {
    throw reject('BATCH_MALFORMED', `${key} is no manifest`, { cause: error })
  }
}

function under(root: string, rest: string): string {
  return root === '' ? rest : `${root}/${rest}`
}
