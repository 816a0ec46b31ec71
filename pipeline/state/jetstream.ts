import { DeliverPolicy, jetstream, jetstreamManager, type JetStreamManager } from '@nats-io/jetstream'
import type { KV, KvEntry } from '@nats-io/kv'
import type { NatsConnection } from '@nats-io/transport-node'
import { faultOf, messageOf, retry } from '../fault.ts'
import { connectNats } from '../nats/connect.ts'
import type { NatsOptions } from '../nats/options.ts'
import { OrderedReader, type OrderedOptions } from '../nats/ordered.ts'
import { PullSession, type Delivered } from '../nats/pull.ts'
import type { Log } from '../telemetry/log.ts'
import { within } from './deadline.ts'
import { FORMAT_KEY, isConflict, openBucket, streamOf, type BucketOptions } from './jetstream-bucket.ts'
import { checkRecord } from './limits.ts'
import type { StateChange, StateEntry, StateKey, StateStore } from './state.ts'

export interface JetStreamStateOptions extends BucketOptions {
  readonly nats: NatsOptions
  readonly log: Log
}

const TIMEOUT_MS = 5000
const READ_BYTES = 4 * 1024 * 1024

interface Opened {
  readonly nc: NatsConnection
  readonly jsm: JetStreamManager
  readonly kv: KV
  readonly reading: OrderedOptions
}

/** State in a JetStream key-value bucket: a revision is the bucket's stream sequence, so none is ever used again. */
export class JetStreamState implements StateStore {
  readonly place: string
  readonly #options: JetStreamStateOptions
  readonly #closing = new Set<AbortController>()
  readonly #watchers = new Set<OrderedReader>()
  #opened: Opened | undefined

  constructor(options: JetStreamStateOptions) {
    this.#options = options
    this.place = `the bucket ${options.bucket} of NATS`
  }

  async open(): Promise<void> {
    if (this.#opened !== undefined) return
    const { nats, bucket, log } = this.#options
    const nc = await connectNats(nats, `weir state ${bucket}`)
    try {
      const jsm = await jetstreamManager(nc, { timeout: TIMEOUT_MS, checkAPI: false })
      const kv = await openBucket(jetstream(nc, { timeout: TIMEOUT_MS }), jsm, this.#options)
      const maxPayload = nc.info?.max_payload ?? 1024 * 1024
      this.#opened = { nc, jsm, kv, reading: { nc, jsm, stream: streamOf(bucket), maxPayload, log } }
      void this.#follow(nc)
    } catch (error) {
      await nc.close()
      throw error
    }
  }

  async #follow(nc: NatsConnection): Promise<void> {
    for await (const status of nc.status()) {
      if (status.type !== 'reconnect') continue
      for (const watcher of this.#watchers) watcher.reconnected()
    }
  }

  async close(): Promise<void> {
    const opened = this.#opened
    if (opened === undefined) return
    this.#opened = undefined
    for (const closing of this.#closing) closing.abort()
    await opened.nc.close()
  }

  async get(key: StateKey): Promise<StateEntry | undefined> {
    return present(await this.#ask(({ kv }) => kv.get(key)))
  }

  async put(key: StateKey, value: Uint8Array): Promise<number> {
    checkRecord(key, value)
    const copy = Buffer.from(value)
    return this.#ask(({ kv }) => kv.put(key, copy))
  }

  async create(key: StateKey, value: Uint8Array): Promise<number | undefined> {
    checkRecord(key, value)
    const copy = Buffer.from(value)
    return this.#unlessConflict(({ kv }) => kv.create(key, copy))
  }

  async update(key: StateKey, value: Uint8Array, revision: number): Promise<number | undefined> {
    checkRecord(key, value)
    const copy = Buffer.from(value)
    return this.#unlessConflict(({ kv }) => kv.update(key, copy, revision))
  }

  async delete(key: StateKey, revision?: number): Promise<boolean> {
    for (;;) {
      const entry = await this.get(key)
      if (entry === undefined || (revision !== undefined && entry.revision !== revision)) return false
      const deleted = await this.#unlessConflict(async ({ kv }) => {
        await kv.delete(key, { previousSeq: entry.revision })
        return true
      })
      if (deleted === true) return true
    }
  }

  async forget(prefix: StateKey): Promise<void> {
    const filter = this.#filter(prefix)
    await this.#ask(({ jsm }) => jsm.streams.purge(streamOf(this.#options.bucket), { filter }))
  }

  async list(prefix: StateKey): Promise<StateEntry[]> {
    const found = await this.#ask((opened) => this.#last(opened, prefix))
    // Sorted as LMDB sorts: keys are ASCII.
    return found.sort((a, b) => (a.key < b.key ? -1 : 1))
  }

  /** The last record of every key in one pass, as of the moment the consumer is made. */
  async #last({ reading }: Opened, prefix: StateKey): Promise<StateEntry[]> {
    const session = await PullSession.open(reading, {
      deliver_policy: DeliverPolicy.LastPerSubject,
      filter_subject: this.#filter(prefix),
    })
    const deadline = AbortSignal.timeout(TIMEOUT_MS)
    // By key: one that is written meanwhile comes again under its new revision.
    const found = new Map<StateKey, StateEntry>()
    try {
      for (let pending = session.matching; pending > 0;) {
        const slice = await session.take(READ_BYTES, deadline)
        if (slice.length === 0) throw new Error('reading the records broke off')
        for (const delivered of slice) {
          const { key, value, revision } = this.#change(delivered)
          if (value === undefined) found.delete(key)
          else if (key !== FORMAT_KEY) found.set(key, { key, value, revision })
        }
        pending = slice.at(-1)?.pending ?? 0
      }
    } finally {
      await session.close()
    }
    return [...found.values()]
  }

  watch(prefix: StateKey, signal: AbortSignal): AsyncIterable<StateChange> {
    // Asked now, not at the first step of the iteration: what is written after this call must be seen.
    const start = this.#ask(({ jsm }) => jsm.streams.info(streamOf(this.#options.bucket)))
    start.catch(() => {})
    const { reading } = this.#ready()
    return this.#changes({ ...reading, filter: this.#filter(prefix) }, start, signal)
  }

  async *#changes(
    options: OrderedOptions,
    start: Promise<{ readonly state: { readonly last_seq: number } }>,
    signal: AbortSignal,
  ): AsyncGenerator<StateChange> {
    const closing = new AbortController()
    this.#closing.add(closing)
    const ended = AbortSignal.any([signal, closing.signal])
    const from = await start.catch((error: unknown) => {
      // A store that was closed before the answer came ends the watch like one that is closed after it.
      if (ended.aborted) return undefined
      throw error
    })
    if (from === undefined) {
      this.#closing.delete(closing)
      return
    }
    const reader = new OrderedReader(options, from.state.last_seq + 1)
    this.#watchers.add(reader)
    try {
      while (!ended.aborted) {
        for (const delivered of await reader.next(READ_BYTES, ended)) {
          const change = this.#change(delivered)
          if (change.key !== FORMAT_KEY) yield change
          if (ended.aborted) return
        }
      }
    } finally {
      this.#closing.delete(closing)
      this.#watchers.delete(reader)
      await reader.close()
    }
  }

  #filter(prefix: StateKey): string {
    return prefix === '' ? `$KV.${this.#options.bucket}.>` : `$KV.${this.#options.bucket}.${prefix}.>`
  }

  #change({ seq, message }: Delivered): StateChange {
    const key = message.subject.slice(`$KV.${this.#options.bucket}.`.length) as StateKey
    const value = message.headers?.has('KV-Operation') === true ? undefined : message.data
    return { key, value, revision: seq }
  }

  async #unlessConflict<T>(write: (opened: Opened) => Promise<T>): Promise<T | undefined> {
    try {
      return await this.#ask(write)
    } catch (error) {
      if (isConflict(faultOf(error)?.cause)) return undefined
      throw error
    }
  }

  async #ask<T>(question: (opened: Opened) => Promise<T>): Promise<T> {
    const opened = this.#ready()
    try {
      const late = (): Error => new Error(`no answer within ${TIMEOUT_MS} ms`)
      return await within(TIMEOUT_MS, question(opened), late)
    } catch (error) {
      const message = `the state bucket ${this.#options.bucket} does not answer: ${messageOf(error)}`
      throw retry('STATE_UNAVAILABLE', message, 1000, { cause: error })
    }
  }

  #ready(): Opened {
    if (this.#opened === undefined) throw retry('STATE_UNAVAILABLE', 'the state store is not open')
    return this.#opened
  }
}

function present(entry: KvEntry | null): StateEntry | undefined {
  if (entry === null || entry.operation !== 'PUT') return undefined
  return { key: entry.key as StateKey, value: entry.value, revision: entry.revision }
}
