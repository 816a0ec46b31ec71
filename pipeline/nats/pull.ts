import {
  AckPolicy,
  DeliverPolicy,
  ReplayPolicy,
  type ConsumerConfig,
  type ConsumerInfo,
  type JetStreamManager,
} from '@nats-io/jetstream'
import {
  createInbox,
  nanos,
  nuid,
  type Msg,
  type NatsConnection,
  type Subscription,
} from '@nats-io/transport-node'
import { within } from '../state/deadline.ts'

export interface PullOptions {
  readonly nc: NatsConnection
  readonly jsm: JetStreamManager
  readonly stream: string
  /** The server's limit: a pull must have room for one message. */
  readonly maxPayload: number
}

/** What to deliver: start and subject. */
export type Selection = Pick<ConsumerConfig, 'deliver_policy'> &
  Partial<Pick<ConsumerConfig, 'opt_start_seq' | 'filter_subject'>>

export interface Delivered {
  readonly seq: number
  readonly timeMs: number
  /** Messages that match and are still to come; 0 at the end of what is stored. */
  readonly pending: number
  readonly message: Msg
}

const PULL_MESSAGES = 256
/** Where bytes cannot bound a pull: records of the state, of up to 512 KiB. */
const PULL_LAST_MESSAGES = 32
const PULL_EXPIRES_MS = 30_000
const HEARTBEAT_MS = 2000
/** The server forgets the consumer this long after its last pull. */
const INACTIVE_MS = 60_000
const DELETE_MS = 1000
/** Room for subject, reply and headers, which the server counts into a pull's max_bytes. */
const OVERHEAD = 8192

/**
 * One consumer without acks and one pull request at a time. Ordered by check: deliveries are numbered, and a number that is missing
 * breaks the session. Bytes held are at most those of one pull, which the reader asked for.
 */
export class PullSession {
  readonly #options: PullOptions
  readonly #consumer: string
  /**
   * nats-server (2.9.10 seen) loses the message that does not fit into such a pull's bytes: it takes it off its list of
   * last ones before it looks.
   */
  readonly #isLast: boolean
  readonly #inbox = createInbox()
  readonly #subscription: Subscription
  readonly #watchdog: NodeJS.Timeout
  #buffer: Delivered[] = []
  #pulling = false
  #delivered = 0
  #heardMs = performance.now()
  #broken = false
  #wake: (() => void) | undefined

  /** How many messages matched when the session began. */
  readonly matching: number

  static async open(options: PullOptions, selection: Selection): Promise<PullSession> {
    const name = `weir-${nuid.next()}`
    const info = await options.jsm.consumers.add(options.stream, {
      ...selection,
      name,
      ack_policy: AckPolicy.None,
      replay_policy: ReplayPolicy.Instant,
      inactive_threshold: nanos(INACTIVE_MS),
      mem_storage: true,
      num_replicas: 1,
    })
    return new PullSession(options, name, info)
  }

  private constructor(options: PullOptions, consumer: string, { num_pending, config }: ConsumerInfo) {
    this.matching = num_pending
    this.#isLast = config.deliver_policy === DeliverPolicy.LastPerSubject
    this.#options = options
    this.#consumer = consumer
    this.#subscription = options.nc.subscribe(this.#inbox, {
      callback: (error, message) => (error === null ? this.#received(message) : this.break()),
    })
    this.#watchdog = setInterval(() => this.#watch(), HEARTBEAT_MS)
  }

  get #batch(): number {
    return this.#isLast ? PULL_LAST_MESSAGES : PULL_MESSAGES
  }

  get broken(): boolean {
    return this.#broken
  }

  /** The next messages; empty when aborted or broken. */
  async take(maxBytes: number, signal: AbortSignal): Promise<Delivered[]> {
    while (this.#buffer.length === 0 && !signal.aborted && !this.#broken) {
      if (!this.#pulling) this.#pull(maxBytes)
      await this.#changed(signal)
    }
    if (signal.aborted || this.#broken) return []
    return this.#slice(maxBytes)
  }

  #slice(maxBytes: number): Delivered[] {
    let bytes = 0
    let count = 0
    for (const { message } of this.#buffer) {
      if (count > 0 && bytes + message.data.length > maxBytes) break
      bytes += message.data.length
      count++
    }
    const found = this.#buffer.splice(0, count)
    // Ask for what follows while the caller works on this.
    if (this.#buffer.length === 0 && !this.#pulling) this.#pull(maxBytes)
    return found
  }

  #changed(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        signal.removeEventListener('abort', done)
        this.#wake = undefined
        resolve()
      }
      this.#wake = done
      signal.addEventListener('abort', done, { once: true })
    })
  }

  #pull(maxBytes: number): void {
    this.#pulling = true
    this.#heardMs = performance.now()
    const { nc, jsm, stream, maxPayload } = this.#options
    const bound = this.#isLast ? {} : { max_bytes: Math.max(maxBytes, maxPayload) + OVERHEAD }
    const request = {
      batch: this.#batch,
      ...bound,
      expires: nanos(PULL_EXPIRES_MS),
      idle_heartbeat: nanos(HEARTBEAT_MS),
    }
    const { apiPrefix = '$JS.API' } = jsm.getOptions()
    try {
      nc.publish(`${apiPrefix}.CONSUMER.MSG.NEXT.${stream}.${this.#consumer}`, JSON.stringify(request), {
        reply: this.#inbox,
      })
    } catch {
      this.break()
    }
  }

  #received(message: Msg): void {
    this.#heardMs = performance.now()
    const delivery = deliveryOf(message.reply)
    if (delivery === undefined) {
      this.#status(message)
      return
    }
    if (delivery.number !== this.#delivered + 1) {
      this.break()
      return
    }
    this.#delivered++
    if (this.#delivered % this.#batch === 0) this.#pulling = false
    this.#buffer.push({ ...delivery, message })
    this.#wake?.()
  }

  /** Not a message: a heartbeat (100), or the end of the pull (404, 408, 409), or nobody there (503). */
  #status(message: Msg): void {
    const code = message.headers?.code ?? 0
    if (code === 100) return
    this.#pulling = false
    if (
      code !== 404 &&
      code !== 408 &&
      !(code === 409 && PULL_ENDED.test(message.headers?.description ?? ''))
    ) {
      this.break()
    }
    this.#wake?.()
  }

  #watch(): void {
    if (this.#pulling && performance.now() - this.#heardMs > 3 * HEARTBEAT_MS) this.break()
  }

  break(): void {
    this.#broken = true
    this.#wake?.()
  }

  async close(): Promise<void> {
    this.break()
    clearInterval(this.#watchdog)
    this.#subscription.unsubscribe()
    const { jsm, stream, nc } = this.#options
    if (nc.isClosed()) return
    // A courtesy; the server forgets it by itself.
    const deleted = jsm.consumers.delete(stream, this.#consumer)
    await within(DELETE_MS, deleted, () => new Error('late')).catch(() => {})
  }
}

const PULL_ENDED = /exceeds maxbytes|batch completed/i

interface Delivery {
  readonly seq: number
  readonly number: number
  readonly timeMs: number
  readonly pending: number
}

/**
 * `$JS.ACK.<stream>.<consumer>.<tries>.<stream seq>.<delivery>.<time ns>.<pending>`; since 2.11 possibly with domain and
 * account behind `ACK` and a token at the end.
 */
function deliveryOf(reply: string | undefined): Delivery | undefined {
  if (reply === undefined || !reply.startsWith('$JS.ACK.')) return undefined
  const tokens = reply.split('.')
  const at = tokens.length >= 11 ? 7 : 5
  return {
    seq: Number(tokens[at]),
    number: Number(tokens[at + 1]),
    timeMs: Math.floor(Number(tokens[at + 2]) / 1e6),
    pending: Number(tokens[at + 3]),
  }
}
