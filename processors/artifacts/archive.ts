import { createHash } from 'node:crypto'
import type { Artifact, ArtifactName } from '../../pipeline/artifact.ts'
import type { Context } from '../../pipeline/factory.ts'
import { reject } from '../../pipeline/fault.ts'
import { BucketPlace } from './bucket-place.ts'
import type { Config } from './config.ts'
import { pack, unpack } from './container.ts'
import { DirectoryPlace } from './directory-place.ts'
import type { Place } from './place.ts'
import { TenantKeys } from './tenant-keys.ts'

const DEFAULT_DIRECTORY = './data/artifacts'
/** Names that are known to be stored: so many, the latest. */
const KNOWN = 16_384
/** An object is put again when it is older than this against the span that needs it: retention goes by its last put. */
export const FRESH_MS = 24 * 3_600_000

export type Stored = 'put' | 'known'

/** Artifacts at their place: named by tenant and content, sealed where that is asked for, put once. */
export class Archive {
  readonly place: Place
  readonly keys: TenantKeys
  readonly #id: string
  readonly #sealed: boolean
  /** Bytes at their place are a container of ours, not the value's own. */
  readonly #packed: boolean
  readonly #looksFirst: boolean
  readonly #needsVault: boolean
  /** Name → when it was put at the latest that is known of, Unix ms; the longest unused first. */
  readonly #known = new Map<string, number>()
  readonly #underway = new Map<string, Promise<unknown>>()

  /** `looksFirst`: what is to be put is likely to be there already. */
  constructor(
    config: Config,
    context: Pick<Context, 'id' | 'log' | 'state' | 'vault'>,
    { looksFirst }: { looksFirst: boolean },
  ) {
    const { s3uploader, directory = DEFAULT_DIRECTORY, envelope = s3uploader === undefined } = config
    this.#id = context.id
    this.#sealed = envelope
    this.#needsVault = envelope && context.vault === undefined
    this.#packed = envelope || s3uploader === undefined
    this.#looksFirst = looksFirst || s3uploader === undefined
    this.keys = new TenantKeys(context)
    this.place =
      s3uploader === undefined
        ? new DirectoryPlace(context.id, directory)
        : new BucketPlace({
            id: context.id,
            access: s3uploader,
            prefix: s3uploader.s3_prefix,
            timeoutMs: config.timeout,
            tls: config.tls,
            log: context.log,
          })
  }

  async start(): Promise<void> {
    if (this.#needsVault) {
      throw reject(
        'START_FAILED',
        `${this.#id}: encrypts artifacts, which needs master_key of the state extension (openssl rand -base64 32); or set envelope: false`,
      )
    }
    await this.place.start()
  }

  /** Resolves once it is stored. `neededMs`: when the span that refers to it was received. */
  async put(name: ArtifactName, artifact: Artifact, neededMs: number, signal: AbortSignal): Promise<Stored> {
    const key = keyOf(name)
    // A batch may hold the same value many times.
    await this.#underway.get(key)
    const knownMs = this.#known.get(key)
    if (knownMs !== undefined && isFresh(knownMs, neededMs)) return this.#know(key, knownMs, 'known')
    const putting = this.#put(key, name, artifact, neededMs, signal)
    this.#underway.set(key, putting)
    return putting.finally(() => this.#underway.delete(key))
  }

  async #put(
    key: string,
    name: ArtifactName,
    artifact: Artifact,
    neededMs: number,
    signal: AbortSignal,
  ): Promise<Stored> {
    if (this.#looksFirst) {
      const found = await this.place.find(key, signal)
      if (found !== undefined && isFresh(found.putMs, neededMs)) return this.#know(key, found.putMs, 'known')
    }
    // Of its own: a store that answers early still reads it, and a batch's memory is used again.
    const body = this.#packed ? await this.#pack(name, artifact) : Buffer.from(artifact.bytes)
    await this.place.put(key, body, artifact.mediaType, signal)
    return this.#know(key, neededMs, 'put')
  }

  async has(name: ArtifactName, signal: AbortSignal): Promise<boolean> {
    return (await this.place.find(keyOf(name), signal)) !== undefined
  }

  /** Throws NOT_FOUND, SECRET_UNREADABLE. */
  async read(name: ArtifactName, signal: AbortSignal): Promise<Artifact> {
    const stored = await this.place.get(keyOf(name), signal)
    if (stored === undefined) throw reject('NOT_FOUND', 'there is no such artifact')
    const { body, mediaType } = stored
    const artifact = this.#packed
      ? unpack(name, body, await this.keys.find(name.tenant))
      : { bytes: body, mediaType }
    if (sha256Of(artifact.bytes) !== name.sha256) {
      throw reject('SECRET_UNREADABLE', 'an artifact is not the one of its name')
    }
    return artifact
  }

  /** A URL of the store itself, where it has one and needs nobody to open what is sealed. */
  link(name: ArtifactName, expiresInS: number): Promise<string> | undefined {
    if (this.#packed) return undefined
    return this.place.link?.(keyOf(name), name.sha256, expiresInS)
  }

  async #pack(name: ArtifactName, artifact: Artifact): Promise<Buffer> {
    return pack(name, artifact, this.#sealed ? await this.keys.of(name.tenant) : undefined)
  }

  #know(key: string, putMs: number, stored: Stored): Stored {
    this.#known.delete(key)
    this.#known.set(key, putMs)
    if (this.#known.size > KNOWN) {
      const [oldest = ''] = this.#known.keys()
      this.#known.delete(oldest)
    }
    return stored
  }
}

export function sha256Of(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

function keyOf({ tenant, sha256 }: ArtifactName): string {
  return `tenant=${tenant}/${sha256.slice(0, 2)}/${sha256}`
}

/** Undefined: no key of an artifact. */
export function tenantOf(key: string): string | undefined {
  return /^tenant=([^/]+)\/([0-9a-f]{2})\/\2[0-9a-f]{62}$/.exec(key)?.[1]
}

function isFresh(putMs: number, neededMs: number): boolean {
  return putMs >= neededMs - FRESH_MS
}
