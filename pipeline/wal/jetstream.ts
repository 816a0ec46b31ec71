import { setTimeout as delay } from 'node:timers/promises'
import { jetstreamManager, type JetStreamManager } from '@nats-io/jetstream'
import type { NatsConnection } from '@nats-io/transport-node'
import { Fault, messageOf, reject, retry } from '../fault.ts'
import { connectNats } from '../nats/connect.ts'
import { OrderedReader } from '../nats/ordered.ts'
import type { NatsOptions } from '../nats/options.ts'
import { sleep } from '../sleep.ts'
import type { Log } from '../telemetry/log.ts'
import type { Durability, OutgoingMessage, WalDriver, WalInfo, WalPort } from './driver.ts'
import { jetStreamDurability, type ProofOptions } from './durability.ts'
import { unavailable } from './jetstream-faults.ts'
import { JetStreamPort } from './jetstream-port.ts'
import { JetStreamPublisher, sizeOf } from './jetstream-publisher.ts'
import { StreamTail } from './jetstream-tail.ts'
import { prepareStream, type StreamOptions } from './jetstream-stream.ts'

export interface JetStreamWalOptions extends StreamOptions, ProofOptions {
  readonly nats: NatsOptions
  readonly log: Log
}

const PUBLISH_TIMEOUT_MS = 5000
const IN_FLIGHT_BYTES = 64 * 1024 * 1024
/** Room beside the message for headers and whatever a newer writer adds. */
const RESERVED = 64 * 1024

const RESUME_MS = 250
/** Messages asked for at once. */
const LOOKS = 32

interface Opened {
  readonly nc: NatsConnection
  readonly jsm: JetStreamManager
  readonly publisher: JetStreamPublisher
  readonly tail: StreamTail
  readonly maxPayload: number
  readonly durability: Durability
  readonly closing: AbortController
}

/** Below it an operator is told: a prompt with a document in it is easily larger (contract section 2). */
const SMALL_PAYLOAD = 2 * 1024 * 1024

/** The WAL as one JetStream stream: sequences are the stream's, positions are ours. */
export class JetStreamWal implements WalDriver {
  readonly kind = 'jetstream'
  readonly #options: JetStreamWalOptions
  readonly #ports = new Set<JetStreamPort>()
  #used: (() => Promise<number>) | undefined
  #opened: Opened | undefined

  constructor(options: JetStreamWalOptions) {
    this.#options = options
  }

  get maxMessageBytes(): number {
    return this.#ready().maxPayload - RESERVED
  }

  async open(): Promise<void> {
    if (this.#opened !== undefined) return
    const { nats, stream, log } = this.#options
    const durability = await jetStreamDurability(this.#options)
    const nc = await connectNats(nats, `weir wal ${stream}`)
    try {
      const jsm = await managed(nc)
      await prepareStream(jsm, this.#options, log)
      const tail = this.#tailOf(nc, jsm)
      const publisher = new JetStreamPublisher(nc, {
        stream,
        tail,
        timeoutMs: PUBLISH_TIMEOUT_MS,
        maxInFlightBytes: IN_FLIGHT_BYTES,
      })
      const maxPayload = nc.info?.max_payload ?? 1024 * 1024
      if (maxPayload < SMALL_PAYLOAD) {
        const fields = { max_payload: maxPayload, largest_span: maxPayload - RESERVED }
        log.warn(
          fields,
          'nats-server takes small messages only: larger spans are refused. Set max_payload: 8MB',
        )
      }
      this.#opened = { nc, jsm, publisher, tail, maxPayload, durability, closing: new AbortController() }
      void this.#follow(this.#opened)
    } catch (error) {
      await nc.close()
      throw error
    }
  }

  /** Puts right what a lost connection leaves behind. Ends when the connection is closed. */
  async #follow(opened: Opened): Promise<void> {
    for await (const status of opened.nc.status()) {
      if (status.type === 'disconnect') {
        opened.tail.doubt()
        this.#options.log.warn('lost the connection to NATS')
      }
      if (status.type !== 'reconnect') continue
      this.#options.log.info({ server: status.server }, 'connected to NATS again')
      opened.tail.doubt()
      for (const port of this.#ports) port.reconnected()
      void this.#resume(opened)
    }
  }

  /** What waits for its answer is sent again once the end of the stream is known to be sound. */
  async #resume({ tail, publisher, closing }: Opened): Promise<void> {
    while (!closing.signal.aborted) {
      try {
        await tail.mend()
        return publisher.resend()
      } catch (error) {
        this.#options.log.debug({ reason: messageOf(error) }, 'the stream is not back yet')
        await sleep(RESUME_MS * (0.5 + Math.random()), closing.signal)
      }
    }
  }

  #tailOf(nc: NatsConnection, jsm: JetStreamManager): StreamTail {
    const { stream, subjectPrefix, log } = this.#options
    const tail = new StreamTail({
      nc,
      stream,
      subjectPrefix,
      log,
      look: () => this.info(),
      skipTo: async (seq) => void (await jsm.streams.purge(stream, { seq })),
    })
    if (this.#used !== undefined) tail.guard(this.#used)
    return tail
  }

  guard(used: () => Promise<number>): void {
    this.#used = used
    this.#opened?.tail.guard(used)
  }

  async close(): Promise<void> {
    const opened = this.#opened
    if (opened === undefined) return
    this.#opened = undefined
    opened.closing.abort()
    await Promise.all([...this.#ports].map((port) => port.close()))
    opened.publisher.close()
    await opened.nc.close()
  }

  async append(message: OutgoingMessage): Promise<number> {
    const { publisher, tail, maxPayload } = this.#ready()
    const bytes = sizeOf(message.parts)
    if (bytes > maxPayload - RESERVED) {
      throw reject(
        'SPAN_TOO_LARGE',
        `a WAL message of ${bytes} bytes is over the limit of ${maxPayload - RESERVED} bytes: ` +
          'raise max_payload in nats-server, or send smaller batches',
      )
    }
    if (!tail.isSound) await sound(tail)
    return publisher.publish(this.#subject(message.signal, message.tenant), message.id, message.parts)
  }

  #subject(signal: string, tenant: string): string {
    return `${this.#options.subjectPrefix}.${signal}.${tenant}`
  }

  reader(from: number): WalPort {
    const { nc, jsm, maxPayload } = this.#ready()
    const { stream, log } = this.#options
    const reader = new OrderedReader({ nc, jsm, stream, log, maxPayload }, from)
    const port = new JetStreamPort(reader, from, (closed) => this.#ports.delete(closed))
    this.#ports.add(port)
    return port
  }

  async info(): Promise<WalInfo> {
    const { state, config } = await this.#ask((jsm) => jsm.streams.info(this.#options.stream))
    const empty = state.messages === 0
    return {
      firstSeq: empty ? state.last_seq + 1 : state.first_seq,
      lastSeq: state.last_seq,
      messages: state.messages,
      bytes: state.bytes,
      maxBytes: config.max_bytes,
      oldestMs: empty ? undefined : Date.parse(state.first_ts),
    }
  }

  async holds(from: number, to: number): Promise<boolean> {
    const { firstSeq, lastSeq } = await this.info()
    const end = Math.min(to, lastSeq)
    for (let seq = Math.max(from, firstSeq); seq <= end; seq += LOOKS) {
      const seqs = Array.from({ length: Math.min(LOOKS, end - seq + 1) }, (_, at) => seq + at)
      // Not found is also said of a message that does not match its checksum.
      const found = await this.#ask((jsm) =>
        Promise.all(seqs.map((one) => jsm.streams.getMessage(this.#options.stream, { seq: one }))),
      )
      if (found.some((message) => message !== null)) return true
    }
    return false
  }

  async trim(upTo: number): Promise<void> {
    const { lastSeq } = await this.info()
    // A purge beyond the end would move the next sequence there.
    const seq = Math.min(upTo, lastSeq) + 1
    if (seq <= 1) return
    await this.#ask((jsm) => jsm.streams.purge(this.#options.stream, { seq }))
  }

  async purgeTenant(tenant: string, upTo: number): Promise<void> {
    const filter = this.#subject('*', tenant)
    if (upTo < 1) return
    await this.#ask((jsm) => jsm.streams.purge(this.#options.stream, { filter, seq: upTo + 1 }))
  }

  async #ask<T>(question: (jsm: JetStreamManager) => Promise<T>): Promise<T> {
    const { jsm } = this.#ready()
    try {
      return await question(jsm)
    } catch (error) {
      if (error instanceof Fault) throw error
      throw unavailable(`stream ${this.#options.stream} does not answer: ${messageOf(error)}`, error)
    }
  }

  durability(): Durability {
    return this.#ready().durability
  }

  /** Nothing to do: the server wakes a waiting pull by itself. */
  poke(): void {}

  #ready(): Opened {
    if (this.#opened === undefined) throw retry('WAL_UNAVAILABLE', 'the WAL is not open')
    return this.#opened
  }
}

/** What waits for a connection that comes back is not refused meanwhile. */
async function sound(tail: StreamTail): Promise<void> {
  const endMs = performance.now() + PUBLISH_TIMEOUT_MS
  for (;;) {
    try {
      return await tail.mend()
    } catch (error) {
      if (performance.now() > endMs) throw error
      await delay(RESUME_MS * (0.5 + Math.random()))
    }
  }
}

async function managed(nc: NatsConnection): Promise<JetStreamManager> {
  try {
    return await jetstreamManager(nc, { timeout: PUBLISH_TIMEOUT_MS })
  } catch (error) {
    throw reject(
      'START_FAILED',
      `NATS has no JetStream for this account: ${messageOf(error)}. Start nats-server with \`-js\` or a jetstream block`,
      { cause: error },
    )
  }
}
