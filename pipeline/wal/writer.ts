import { randomBytes } from 'node:crypto'
import type { Batch, BatchMeta } from '../batch/batch.ts'
import { ACCEPTED, type Consumer, type Outcome } from '../consumer.ts'
import { type Fault, faultOf, messageOf, retry } from '../fault.ts'
import { givenUp } from '../given-up.ts'
import { within } from '../state/deadline.ts'
import type { Histogram, Labels, Meter } from '../telemetry/meter.ts'
import type { WalDriver } from './driver.ts'
import { encodeEnvelope, envelopeOverhead, type Member } from './envelope.ts'
import { unlessAborted } from './reader-deadline.ts'
import { Groups, type Group, type Settled } from './writer-group.ts'

export interface WriterOptions {
  /** Id of the connector, for metrics. */
  readonly connector: string
  /** Open from the first `consume` on. */
  readonly driver: WalDriver
  readonly meter: Meter
  /** After each message that is durable: tell the store process. */
  readonly onAppended: () => void
  /** Bytes that may wait for the log; over it the sender is told to come again. */
  readonly maxPendingBytes: number
  /** Deadline of one append; default 10 s. */
  readonly appendTimeoutMs?: number
}

const APPEND_TIMEOUT_MS = 10_000
/** A log is saturated by this many messages, or this many bytes, in flight; more only adds latency (notes: 16 big, 256 small). */
const MAX_IN_FLIGHT = 256
const MAX_IN_FLIGHT_BYTES = 8 * 1024 * 1024

/**
 * The WAL as a consumer: `consume` resolves once the batch's message is durable. Batches of one tenant that arrive in
 * the same turn of the event loop, or while earlier messages are being written, share a message (group commit).
 * What is durable is released: nobody behind it has the batch.
 */
export class WalWriter implements Consumer {
  readonly #options: WriterOptions
  readonly #groups = new Groups()
  readonly #ackDuration: Histogram
  readonly #labels: Labels
  readonly #seed = randomBytes(12).toString('base64url')
  #messages = 0
  #inFlight = 0
  #inFlightBytes = 0
  #pendingBytes = 0
  #scheduled = false
  #stopping = false
  #idle: (() => void) | undefined
  #lastFailure: { readonly error: unknown; readonly at: number } | undefined

  constructor(options: WriterOptions) {
    this.#options = options
    this.#ackDuration = options.meter.histogram('weir_wal_ack_duration_seconds')
    this.#labels = { connector: options.connector }
  }

  /** Bytes taken and not yet durable. */
  get pendingBytes(): number {
    return this.#pendingBytes
  }

  /** Why the newest append failed, if it failed and that was just now; readiness. */
  lastFailure(withinMs: number): unknown {
    const failure = this.#lastFailure
    return failure !== undefined && performance.now() - failure.at <= withinMs ? failure.error : undefined
  }

  /**
   * What was given up before is not begun; what is begun ends as the log says, whether its sender still waits or not: who
   * counts what was taken must hear of it. One promise, and no other between the caller and its message: for small requests
   * each costs as much as their bytes.
   */
  consume(batch: Batch, signal: AbortSignal): Promise<Outcome> {
    return new Promise((resolve, reject) => {
      if (batch.live === 0) return resolve(ACCEPTED)
      if (this.#stopping) throw retry('SHUTTING_DOWN', 'the daemon is stopping')
      if (signal.aborted) throw givenUp()
      const started = performance.now()
      this.#add(batch.meta.tenant, this.#membersOf(batch), (failure) => {
        if (failure !== undefined) return reject(failure)
        resolve(ACCEPTED)
        this.#ackDuration.observe((performance.now() - started) / 1000, this.#labels)
        // Who gave up may be trying the same batch again.
        if (!signal.aborted) batch.release()
      })
    })
  }

  /** Takes no more, and writes what it has; at the deadline the rest is refused, so that its senders come again. */
  async stop(deadline: AbortSignal): Promise<void> {
    this.#stopping = true
    if (this.#inFlight === 0 && this.#groups.empty) return
    const idle = new Promise<void>((resolve) => (this.#idle = resolve))
    await unlessAborted(deadline, idle)
    for (let group = this.#groups.shift(); group !== undefined; group = this.#groups.shift()) {
      this.#pendingBytes -= group.payloadBytes
      group.settle(retry('SHUTTING_DOWN', 'the daemon stopped before the write-ahead log had taken this'))
    }
  }

  /** One member, or one per part where the whole does not fit into a message. */
  #membersOf(batch: Batch): Member[] {
    const { meta } = batch
    const bytes = batch.encode()
    const room = this.#options.driver.maxMessageBytes - envelopeOverhead(meta)
    if (bytes.length <= room) return [memberOf(meta, bytes, batch.live, WHOLE)]
    let firstRow = 0
    return batch.split(room).map((part, index, { length }) => {
      const place = { part: index, firstRow, last: index === length - 1 }
      const member = memberOf(meta, part.encode(), part.live, place)
      firstRow += part.live
      return member
    })
  }

  /** `settled` hears once none of them is under way any more. */
  #add(tenant: string, members: readonly Member[], settled: Settled): void {
    const { maxMessageBytes } = this.#options.driver
    let bytes = 0
    for (const member of members) bytes += member.bytes.length
    this.#take(bytes)
    const one = members.length === 1 ? settled : afterAll(members.length, settled)
    for (const member of members) this.#groups.add(tenant, member, maxMessageBytes, one)
    this.#schedule()
  }

  #take(bytes: number): void {
    const limit = this.#options.maxPendingBytes
    // One batch larger than the whole limit passes when alone.
    if (this.#pendingBytes > 0 && this.#pendingBytes + bytes > limit) {
      throw retry('OVERLOADED', `over ${limit} bytes wait for the write-ahead log`, 1000)
    }
    this.#pendingBytes += bytes
  }

  /** After this turn's I/O: what it brought shares a message. */
  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      this.#pump()
    })
  }

  #pump(): void {
    for (
      let next = this.#groups.first;
      next !== undefined && this.#mayStart(next);
      next = this.#groups.first
    ) {
      this.#groups.shift()
      void this.#write(next)
    }
    if (this.#inFlight === 0 && this.#groups.empty) this.#idle?.()
  }

  #mayStart(group: Group): boolean {
    if (this.#inFlight === 0) return true
    return this.#inFlight < MAX_IN_FLIGHT && this.#inFlightBytes + group.bytes <= MAX_IN_FLIGHT_BYTES
  }

  async #write(group: Group): Promise<void> {
    this.#inFlight++
    this.#inFlightBytes += group.bytes
    const failure = await this.#append(group).then(
      () => undefined,
      (error: unknown) => this.#failed(error),
    )
    if (failure === undefined) this.#lastFailure = undefined
    this.#pendingBytes -= group.payloadBytes
    this.#inFlight--
    this.#inFlightBytes -= group.bytes
    group.settle(failure)
    if (failure === undefined) this.#options.onAppended()
    this.#pump()
  }

  #failed(error: unknown): Fault {
    const { meter, connector } = this.#options
    // A driver that rejects with something else than a Fault has a bug; its sender must come again all the same.
    const fault = faultOf(error) ?? retry('WAL_UNAVAILABLE', messageOf(error), 1000, { cause: error })
    meter.counter('weir_wal_append_errors').add(1, { connector, code: fault.code })
    this.#lastFailure = { error: fault, at: performance.now() }
    return fault
  }

  async #append(group: Group): Promise<void> {
    const { driver, appendTimeoutMs = APPEND_TIMEOUT_MS } = this.#options
    const id = `${this.#seed}-${(this.#messages++).toString(36)}`
    const parts = encodeEnvelope(group.members)
    const append = driver.append({ signal: 'traces', tenant: group.tenant, id, parts })
    await within(appendTimeoutMs, append, () =>
      retry('WAL_UNAVAILABLE', `the write-ahead log did not confirm within ${appendTimeoutMs} ms`),
    )
  }
}

/** A request in one piece. */
const WHOLE = { part: 0, firstRow: 0, last: true } as const

function memberOf(
  meta: BatchMeta,
  bytes: Uint8Array,
  spans: number,
  place: Pick<Member, 'part' | 'firstRow' | 'last'>,
): Member {
  const { digest, principal, project, source, receivedAtMs, only } = meta
  const { part, firstRow, last } = place
  // Not spread: that took 6 % of the CPU of 1-span requests (measured).
  return { digest, part, firstRow, last, principal, project, source, only, receivedAtMs, spans, bytes }
}

/** To be called `count` times; then `settled` hears, of the first failure if there was one. */
function afterAll(count: number, settled: Settled): Settled {
  let left = count
  let first: Fault | undefined
  return (failure) => {
    first ??= failure
    if (--left === 0) settled(first)
  }
}
