import { Fault, faultOf, messageOf, reject, retry, type FaultCode, type Verdict } from '../fault.ts'

/**
 * Requests and notices over the process channel between the daemon and its store process. Small typed messages only:
 * data crosses by the WAL. Every request has a deadline; a channel that closes fails what is pending, retryably.
 */
export interface Channel {
  send(message: unknown): void
  onMessage(listener: (message: unknown) => void): void
  onClose(listener: () => void): void
}

/** method → what it takes and gives. `gives: void` methods may also be sent as notices. */
export type Methods = Readonly<Record<string, { readonly takes: unknown; readonly gives: unknown }>>

export type Handlers<M extends Methods> = {
  readonly [K in keyof M]: (params: M[K]['takes']) => M[K]['gives'] | Promise<M[K]['gives']>
}

interface Pending {
  readonly resolve: (value: unknown) => void
  readonly reject: (error: Error) => void
  readonly timer: NodeJS.Timeout
}

interface FaultOnWire {
  readonly code: FaultCode | undefined
  readonly message: string
  readonly verdict: Verdict
}

export class Rpc<Theirs extends Methods> {
  readonly #channel: Channel
  readonly #pending = new Map<number, Pending>()
  #next = 1
  #closed = false

  constructor(channel: Channel, handlers: Readonly<Record<string, (params: never) => unknown>>) {
    this.#channel = channel
    channel.onMessage((message) => void this.#receive(message as WireMessage, handlers))
    channel.onClose(() => this.#close())
  }

  /** The other side is gone. */
  get closed(): boolean {
    return this.#closed
  }

  call<K extends keyof Theirs & string>(
    method: K,
    params: Theirs[K]['takes'],
    timeoutMs: number,
  ): Promise<Theirs[K]['gives']> {
    if (this.#closed) return Promise.reject(gone())
    const id = this.#next++
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#pending.delete(id)
        reject(retry('CANCELLED', `the store process did not answer "${method}" within ${timeoutMs} ms`))
      }, timeoutMs)
      this.#pending.set(id, { resolve, reject, timer })
      try {
        this.#channel.send({ id, method, params })
      } catch (error) {
        // What cannot be cloned: the caller hears of it now, not at the deadline.
        this.#settle({ id, fault: toWire(error) })
      }
    })
  }

  notify<K extends keyof Theirs & string>(method: K, params: Theirs[K]['takes']): void {
    if (!this.#closed) this.#channel.send({ method, params })
  }

  async #receive(
    message: WireMessage,
    handlers: Readonly<Record<string, (params: never) => unknown>>,
  ): Promise<void> {
    if (message.method === undefined) return this.#settle(message)
    const { id } = message
    try {
      const handler = handlers[message.method]
      if (handler === undefined) throw reject('NOT_FOUND', `no method "${message.method}"`)
      const value = await handler(message.params as never)
      if (id !== undefined && !this.#closed) this.#channel.send({ id, value })
    } catch (error) {
      if (id !== undefined && !this.#closed) this.#channel.send({ id, fault: toWire(error) })
    }
  }

  #settle(message: WireMessage): void {
    const pending = this.#pending.get(message.id ?? 0)
    if (pending === undefined) return
    this.#pending.delete(message.id ?? 0)
    clearTimeout(pending.timer)
    if (message.fault === undefined) pending.resolve(message.value)
    else pending.reject(fromWire(message.fault))
  }

  #close(): void {
    this.#closed = true
    for (const pending of this.#pending.values()) {
      clearTimeout(pending.timer)
      pending.reject(gone())
    }
    this.#pending.clear()
  }
}

interface WireMessage {
  readonly id?: number
  readonly method?: string
  readonly params?: unknown
  readonly value?: unknown
  readonly fault?: FaultOnWire
}

function gone(): Fault {
  return retry('EXPORT_UNAVAILABLE', 'the store process is not running', 1000)
}

function toWire(error: unknown): FaultOnWire {
  const fault = faultOf(error)
  return { code: fault?.code, message: messageOf(error), verdict: fault?.verdict ?? { do: 'reject' } }
}

function fromWire(wire: FaultOnWire): Error {
  return wire.code === undefined ? new Error(wire.message) : new Fault(wire.code, wire.message, wire.verdict)
}
