import { isForbidden, unavailable } from '../../pipeline/bucket/answer.ts'
import { Bucket } from '../../pipeline/bucket/bucket.ts'
import type { BucketAccess } from '../../pipeline/bucket/access.ts'
import type { ClientTls } from '../../pipeline/net/client-tls.ts'
import { messageOf, retry } from '../../pipeline/fault.ts'
import type { Log } from '../../pipeline/telemetry/log.ts'
import { LARGEST_BYTES, type Place, type Resting, type Stored } from './place.ts'

interface Options {
  /** Of the component, for messages. */
  readonly id: string
  readonly access: BucketAccess
  readonly prefix: string
  readonly timeoutMs: number
  readonly tls: ClientTls | undefined
  readonly log: Log
}

export class BucketPlace implements Place {
  readonly #options: Options
  #bucket: Bucket | undefined
  #reload: NodeJS.Timeout | undefined

  constructor(options: Options) {
    this.#options = options
  }

  async start(): Promise<void> {
    if (this.#bucket !== undefined) return
    this.#bucket = await Bucket.open(this.#options)
    const interval = this.#options.tls?.reload_interval
    if (interval) this.#reload = setInterval(() => void this.#reopen(), interval).unref()
  }

  stop(): void {
    clearInterval(this.#reload)
    this.#bucket?.close()
    this.#bucket = undefined
  }

  async probe(signal: AbortSignal): Promise<void> {
    await this.#ask(async (bucket) => {
      // Credentials that may only read and write objects cannot ask for the bucket.
      await bucket.head(signal).catch((error: unknown) => {
        if (!isForbidden(error)) throw error
      })
    })
  }

  find(key: string, signal: AbortSignal): Promise<Resting | undefined> {
    return this.#ask((bucket) =>
      bucket.find(this.#key(key), signal).catch((error: unknown) => {
        // Who may not list is not told that a key is absent. Whether they may write, they are told when they do.
        if (!isForbidden(error)) throw error
        return undefined
      }),
    )
  }

  async put(key: string, body: Uint8Array, mediaType: string, signal: AbortSignal): Promise<void> {
    await this.#ask((bucket) => bucket.put({ key: this.#key(key), body, contentType: mediaType }, signal))
  }

  async get(key: string, signal: AbortSignal): Promise<Stored | undefined> {
    const found = await this.find(key, signal)
    if (found === undefined || found.bytes > LARGEST_BYTES) return undefined
    const object = await this.#ask((bucket) => bucket.get(this.#key(key), signal))
    return object && { body: object.body, mediaType: object.contentType }
  }

  async *list(prefix: string, signal: AbortSignal): AsyncGenerator<Resting & { readonly key: string }> {
    const pages = await this.#ask((bucket) => Promise.resolve(bucket.list(this.#key(prefix), signal)))
    for (;;) {
      const next = await this.#ask(() => pages.next())
      if (next.done === true) return
      yield { ...next.value, key: next.value.key.slice(this.#key('').length) }
    }
  }

  remove(key: string, signal: AbortSignal): Promise<void> {
    return this.#ask((bucket) => bucket.remove(this.#key(key), signal))
  }

  link(key: string, filename: string, expiresInS: number): Promise<string> {
    return this.#ask((bucket) => bucket.link(this.#key(key), filename, expiresInS))
  }

  /** With the TLS files as they are now; requests under way end on the old connections. */
  async #reopen(): Promise<void> {
    try {
      const fresh = await Bucket.open(this.#options)
      if (this.#bucket === undefined) fresh.close()
      else this.#bucket = fresh
    } catch (error) {
      const fields = { error: messageOf(error) }
      this.#options.log.warn(fields, 'TLS files changed but are not usable; the old ones stay')
    }
  }

  #key(key: string): string {
    const { prefix } = this.#options
    return prefix === '' ? key : `${prefix}/${key}`
  }

  async #ask<T>(work: (bucket: Bucket) => Promise<T>): Promise<T> {
    const { id, access } = this.#options
    if (this.#bucket === undefined) throw retry('EXPORT_UNAVAILABLE', `${id}: not started`)
    try {
      return await work(this.#bucket)
    } catch (error) {
      throw unavailable(id, error, access)
    }
  }
}
