import {
  createInbox,
  headers,
  type Msg,
  type NatsConnection,
  type Subscription,
} from '@nats-io/transport-node'
import { faultOf, messageOf, retry, type Fault } from '../fault.ts'
import { publishFault, unavailable } from './jetstream-faults.ts'
import { writeWhole } from './jetstream-socket.ts'
import type { StreamTail } from './jetstream-tail.ts'

export interface PublisherOptions {
  readonly stream: string
  readonly tail: StreamTail
  /** Deadline of one message, reconnects included. */
  readonly timeoutMs: number
  readonly maxInFlightBytes: number
}

interface Pending {
  readonly subject: string
  readonly id: string
  parts: readonly Uint8Array[]
  readonly bytes: number
  readonly timer: NodeJS.Timeout
  readonly resolve: (seq: number) => void
  readonly reject: (fault: Fault) => void
}

/** From here on the copies that `nc.publish` makes cost more than a write of one's own. */
const LARGE_BYTES = 64 * 1024

/** A PubAck as the server writes it. */
interface PubAck {
  readonly seq?: number
  readonly duplicate?: boolean
  readonly error?: { readonly err_code?: number; readonly code?: number; readonly description?: string }
}

/**
 * Publishes with `nc.publish` and one reply subscription for all acks: an eighth of the CPU of `js.publish`, which
 * makes a request per message. What is unanswered after a reconnect is sent again under its `Nats-Msg-Id`.
 */
export class JetStreamPublisher {
  readonly #nc: NatsConnection
  readonly #options: PublisherOptions
  readonly #inbox = createInbox()
  readonly #acks: Subscription
  readonly #pending = new Map<string, Pending>()
  #inFlightBytes = 0
  #next = 0

  constructor(nc: NatsConnection, options: PublisherOptions) {
    this.#nc = nc
    this.#options = options
    this.#acks = nc.subscribe(`${this.#inbox}.*`, {
      callback: (error, message) => {
        if (error === null) this.#answered(message)
      },
    })
  }

  publish(subject: string, id: string, parts: readonly Uint8Array[]): Promise<number> {
    const bytes = sizeOf(parts)
    if (this.#inFlightBytes > 0 && this.#inFlightBytes + bytes > this.#options.maxInFlightBytes) {
      throw retry('WAL_UNAVAILABLE', `${this.#inFlightBytes} bytes wait for JetStream's answer`, 500)
    }
    const token = (this.#next++).toString(36)
    this.#inFlightBytes += bytes
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#late(token), this.#options.timeoutMs)
      this.#pending.set(token, { subject, id, parts, bytes, timer, resolve, reject })
      this.#send(token)
    })
  }

  /**
   * After a reconnect: whatever was not answered may be lost on the way, either way. From a copy: the answer to the first
   * message may come, and its memory be used again, while the second is still being written. Until then the parts are whole:
   * the writer gives memory back only when a message was answered, which then waits here no more.
   */
  resend(): void {
    for (const [token, pending] of this.#pending) {
      pending.parts = [Buffer.concat(pending.parts)]
      this.#send(token)
    }
  }

  close(): void {
    this.#acks.unsubscribe()
    for (const token of this.#pending.keys()) {
      this.#finish(token)?.reject(unavailable('the WAL was closed before JetStream answered'))
    }
  }

  #send(token: string): void {
    const pending = this.#pending.get(token)
    if (pending === undefined) return
    const { subject, id, parts, bytes } = pending
    const reply = `${this.#inbox}.${token}`
    const stream = this.#options.stream
    try {
      if (bytes >= LARGE_BYTES && writeWhole(this.#nc, { subject, reply, id, stream, parts, bytes })) return
      const head = headers()
      head.set('Nats-Msg-Id', id)
      head.set('Nats-Expected-Stream', stream)
      this.#nc.publish(subject, joined(parts), { headers: head, reply })
    } catch (error) {
      this.#finish(token)?.reject(unavailable(`NATS did not take a message: ${messageOf(error)}`, error))
    }
  }

  #answered(message: Msg): void {
    const pending = this.#finish(message.subject.slice(this.#inbox.length + 1))
    if (pending === undefined) return
    try {
      const { stream, tail } = this.#options
      const ack = ackOf(message, stream)
      // A server that came back without the end of its log: no reader may see a message there.
      if (ack.duplicate !== true && !tail.confirmed(ack.seq)) {
        throw unavailable(`stream ${stream} gave sequence ${ack.seq} twice: it has lost its end`)
      }
      pending.resolve(ack.seq)
    } catch (error) {
      const fault = faultOf(error) ?? unavailable(`JetStream's answer is not one: ${messageOf(error)}`, error)
      // The stream may have been made anew, or its leader be another one, without a loss of our connection.
      if (fault.code === 'WAL_UNAVAILABLE') this.#options.tail.doubt()
      pending.reject(fault)
    }
  }

  #late(token: string): void {
    const { timeoutMs, stream } = this.#options
    this.#finish(token)?.reject(
      unavailable(`stream ${stream} did not confirm a message within ${timeoutMs} ms`),
    )
  }

  #finish(token: string): Pending | undefined {
    const pending = this.#pending.get(token)
    if (pending === undefined) return undefined
    this.#pending.delete(token)
    this.#inFlightBytes -= pending.bytes
    clearTimeout(pending.timer)
    return pending
  }
}

export function sizeOf(parts: readonly Uint8Array[]): number {
  let bytes = 0
  for (const part of parts) bytes += part.length
  return bytes
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const [only] = parts
  return parts.length === 1 && only !== undefined ? only : Buffer.concat(parts)
}

function ackOf(message: Msg, stream: string): PubAck & { readonly seq: number } {
  if (message.data.length === 0 && message.headers?.code === 503) {
    throw unavailable(
      `nobody takes messages for stream ${stream}: JetStream is off, starting, or has lost it`,
    )
  }
  const ack = message.json<PubAck>()
  if (ack.error !== undefined) {
    throw publishFault(
      stream,
      ack.error.err_code ?? ack.error.code ?? 0,
      ack.error.description ?? 'no reason given',
    )
  }
  const { seq, duplicate = false } = ack
  if (typeof seq !== 'number' || seq < 1) throw unavailable('JetStream confirmed no sequence')
  return { seq, duplicate }
}
