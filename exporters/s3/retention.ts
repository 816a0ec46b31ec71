import type { Bucket, Listed } from '../../pipeline/bucket/bucket.ts'
import {
  overdueByTenant,
  take,
  type Cutoffs,
  type Deletion,
  type Overdue,
  type Retainable,
} from '../../pipeline/retention.ts'
import { someAtOnce } from '../../pipeline/some-at-once.ts'
import type { Config } from './config.ts'
import { MANIFESTS, parseManifest, rangeNameOf, rootOf, without } from './manifest.ts'

/** Objects that are looked up in the manifests at a time: what bounds the memory of a run. */
const CHUNK = 10_000
const AT_ONCE = 8

export interface RetentionOptions {
  readonly store: string
  readonly config: Config
  readonly open: () => Bucket
  /** What the store says, as a Fault. */
  readonly unavailable: (error: unknown) => Error
}

/**
 * Objects by the time when they were put: each holds spans of one tenant, none younger than that (but for senders whose
 * clock is ahead). First the manifests forget them, then they are deleted: an object whose manifest is gone is still
 * found, as objects of deliveries that never ended are.
 */
export class S3Retention implements Retainable {
  readonly store: string
  readonly kind = 'traces'
  readonly #options: RetentionOptions

  constructor(options: RetentionOptions) {
    this.store = options.store
    this.#options = options
  }

  async survey(cutoffs: Cutoffs, signal: AbortSignal): Promise<readonly Overdue[]> {
    const found: Expired[] = []
    await this.#guarded(async () => {
      for await (const each of this.#expired(cutoffs, signal)) found.push(each)
    })
    return overdueByTenant(found)
  }

  async *expire(cutoffs: Cutoffs, signal: AbortSignal): AsyncGenerator<Deletion> {
    const { config } = this.#options
    const listing = this.#expired(cutoffs, signal)
    for (;;) {
      const chunk = await this.#guarded(() => take(listing, CHUNK))
      if (chunk.length === 0) return
      await this.#guarded(async () => {
        await this.#forget(chunk, signal)
        await someAtOnce(chunk, AT_ONCE, ({ key }) => this.#options.open().remove(key, signal))
      })
      const place = [config.s3uploader.s3_bucket, rootOf(config)].filter((part) => part !== '').join('/')
      for (const each of overdueByTenant(chunk)) yield { ...each, object: `${place}/tenant=${each.tenant}` }
    }
  }

  async *#expired(cutoffs: Cutoffs, signal: AbortSignal): AsyncGenerator<Expired> {
    if (cutoffs.latestMs === -Infinity) return
    const root = rootOf(this.#options.config)
    const prefix = `${root === '' ? '' : `${root}/`}tenant=`
    for await (const object of this.#options.open().list(prefix, signal)) {
      const tenant = object.key.slice(prefix.length).split('/', 1)[0] ?? ''
      if (object.putMs < cutoffs.of(tenant)) yield { ...object, tenant }
    }
  }

  /** Takes the objects out of their manifests; a manifest of nothing else goes. */
  async #forget(expired: readonly Expired[], signal: AbortSignal): Promise<void> {
    if (expired.length === 0) return
    const { config, open } = this.#options
    const gone = new Set(expired.map(({ key }) => key))
    const ranges = new Set(expired.map(({ key }) => rangeNameOf(config, key)))
    const root = rootOf(config)
    for await (const { key } of open().list(`${root === '' ? '' : `${root}/`}${MANIFESTS}/`, signal)) {
      if (!ranges.has(key.slice(key.lastIndexOf('/') + 1, -'.json'.length))) continue
      const found = await open().get(key, signal)
      const manifest = found && parseManifest(found.body)
      if (manifest === undefined) continue
      const rest = without(manifest, gone)
      if (rest === undefined) await open().remove(key, signal)
      else if (rest.objects.length < manifest.objects.length) {
        const body = Buffer.from(`${JSON.stringify(rest, undefined, 2)}\n`)
        await open().put({ key, body, contentType: 'application/json' }, signal)
      }
    }
  }

  async #guarded<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      throw this.#options.unavailable(error)
    }
  }
}

interface Expired extends Listed {
  readonly tenant: string
}
