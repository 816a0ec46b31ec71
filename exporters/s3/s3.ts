import type { Archive } from '../../pipeline/archive/archive.ts'
import type { Batch } from '../../pipeline/batch/batch.ts'
import { isForbidden, unavailable } from '../../pipeline/bucket/answer.ts'
import { Bucket } from '../../pipeline/bucket/bucket.ts'
import type { Batching, Delivery, DeliveryOutcome, Exporter, FrozenRange } from '../../pipeline/component.ts'
import { ACCEPTED, type Outcome } from '../../pipeline/consumer.ts'
import { DeliveryProgress } from '../../pipeline/delivery-progress.ts'
import type { Context } from '../../pipeline/factory.ts'
import { faultOf, messageOf, retry } from '../../pipeline/fault.ts'
import type { Retainable } from '../../pipeline/retention.ts'
import { someAtOnce } from '../../pipeline/some-at-once.ts'
import { S3Archive } from './archive.ts'
import { bodyOf, CONTENT_TYPES } from './body.ts'
import type { Config } from './config.ts'
import { manifestOf, Names, probeKey, type StoredObject } from './manifest.ts'
import { partsOf, type Part } from './partition.ts'
import { S3Retention } from './retention.ts'

/** Objects of one delivery that are encoded or under way at once: what bounds the memory of a delivery. */
const AT_ONCE = 4

/**
 * Writes each range as an object per tenant and partition, then its manifest. All names come from the range, so that a
 * repeat, after whatever was killed when, overwrites what is there by the same.
 */
export class S3Exporter implements Exporter {
  readonly batching: Batching
  readonly archive: Archive
  readonly retainable: Retainable
  readonly #config: Config
  readonly #context: Context
  #bucket: Bucket | undefined
  #reload: NodeJS.Timeout | undefined
  readonly #progress = new DeliveryProgress<StoredObject>()

  constructor(config: Config, context: Context) {
    this.#config = config
    this.#context = context
    const { max_spans: maxSpans, max_bytes: maxBytes, max_wait: maxWaitMs } = config.batch
    this.batching = { maxSpans, maxBytes, maxWaitMs }
    this.archive = new S3Archive(
      config,
      () => this.#opened(),
      (error) => this.#unavailable(error),
    )
    this.retainable = new S3Retention({
      store: context.id,
      config,
      open: () => this.#opened(),
      unavailable: (error) => this.#unavailable(error),
    })
  }

  async start(): Promise<void> {
    if (this.#bucket !== undefined) return
    this.#bucket = await this.#open()
    const interval = this.#config.tls?.reload_interval
    if (interval) this.#reload = setInterval(() => void this.#reopen(), interval).unref()
  }

  stop(): Promise<void> {
    clearInterval(this.#reload)
    this.#bucket?.close()
    this.#bucket = undefined
    return Promise.resolve()
  }

  /** Credentials that may only write cannot ask for the bucket: then an empty object is written. */
  async probe(signal: AbortSignal): Promise<void> {
    const bucket = this.#opened()
    try {
      await bucket.head(signal).catch(async (error: unknown) => {
        if (!isForbidden(error)) throw error
        const body = new Uint8Array()
        await bucket.put({ key: probeKey(this.#config), body, contentType: 'text/plain' }, signal)
      })
    } catch (error) {
      throw this.#unavailable(error)
    }
  }

  /** A pipeline without a WAL: named by the digest of what was received, so that a sender's repeat overwrites. */
  async consume(batch: Batch, signal: AbortSignal): Promise<Outcome> {
    const token = Buffer.from(batch.meta.digest).toString('hex')
    const range: FrozenRange = { from: 0, to: 0, token, attempt: 0 }
    await this.#store(this.#context.id, range, [batch], signal)
    return ACCEPTED
  }

  async deliver({ cursor, range, batches }: Delivery, signal: AbortSignal): Promise<DeliveryOutcome> {
    await this.#store(cursor, range, batches, signal)
    return { rejected: [] }
  }

  async #store(
    cursor: string,
    range: FrozenRange,
    batches: readonly Batch[],
    signal: AbortSignal,
  ): Promise<void> {
    const parts = partsOf(batches, this.#config.s3uploader.s3_partition_format)
    if (parts.length === 0) return
    const names = new Names(this.#config, range)
    const stored = this.#progress.of({ cursor, range, batches })
    try {
      const todo = parts.filter((part) => !stored.has(names.object(part)))
      await someAtOnce(todo, AT_ONCE, async (part) => {
        const object = await this.#put(part, names.object(part), signal)
        stored.set(object.key, object)
      })
      const objects = parts.flatMap((part) => stored.get(names.object(part)) ?? [])
      const manifest = manifestOf(this.#config, { cursor, range }, objects)
      const body = Buffer.from(`${JSON.stringify(manifest, undefined, 2)}\n`)
      await this.#opened().put({ key: names.manifest(cursor), body, contentType: 'application/json' }, signal)
    } catch (error) {
      throw this.#unavailable(error)
    }
    this.#progress.finish({ cursor })
  }

  async #put(part: Part, key: string, signal: AbortSignal): Promise<StoredObject> {
    signal.throwIfAborted()
    const { s3uploader, marshaler } = this.#config
    const body = await bodyOf(part, this.#config)
    const contentType = CONTENT_TYPES[marshaler]
    const storageClass = s3uploader.storage_class
    const sha256 = await this.#opened().put({ key, body, contentType, storageClass }, signal)
    const labels = { exporter: this.#context.id }
    this.#context.meter.counter('weir_s3_objects').add(1, labels)
    this.#context.meter.counter('weir_s3_bytes').add(body.length, labels)
    return {
      key,
      tenant: part.tenant,
      partition: part.partition,
      rows: part.rows,
      bytes: body.length,
      sha256,
      first_time_unix_nano: String(part.firstNs),
      last_time_unix_nano: String(part.lastNs),
    }
  }

  /** With the TLS files as they are now; requests under way end on the old connections. */
  async #reopen(): Promise<void> {
    try {
      const fresh = await this.#open()
      if (this.#bucket === undefined) fresh.close()
      else this.#bucket = fresh
    } catch (error) {
      const fields = { error: messageOf(error) }
      this.#context.log.warn(fields, 'TLS files changed but are not usable; the old ones stay')
    }
  }

  #open(): Promise<Bucket> {
    const { s3uploader: access, timeout: timeoutMs, tls } = this.#config
    return Bucket.open({ access, timeoutMs, tls })
  }

  #opened(): Bucket {
    if (this.#bucket === undefined) throw retry('EXPORT_UNAVAILABLE', `${this.#context.id}: not started`)
    return this.#bucket
  }

  #unavailable(error: unknown): Error {
    return faultOf(error) ?? unavailable(this.#context.id, error, this.#config.s3uploader)
  }
}
