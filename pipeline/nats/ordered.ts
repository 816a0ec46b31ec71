import { DeliverPolicy } from '@nats-io/jetstream'
import { messageOf } from '../fault.ts'
import { sleep } from '../sleep.ts'
import type { Log } from '../telemetry/log.ts'
import { PullSession, type Delivered, type PullOptions } from './pull.ts'

export interface OrderedOptions extends PullOptions {
  readonly log: Log
  /** All subjects of the stream when absent. */
  readonly filter?: string
}

const RETRY_MS = 250

/**
 * Reads a stream in order from a position. Messages come through a consumer that is made when needed and thrown away at
 * the first doubt (gap, silence, reconnect, seek): the position is here, so that a new one continues exactly behind it.
 */
export class OrderedReader {
  readonly #options: OrderedOptions
  #closed = false
  #position: number
  #session: PullSession | undefined

  constructor(options: OrderedOptions, from: number) {
    this.#options = options
    this.#position = Math.max(1, from)
  }

  /** The next messages, at least one, at most about `maxBytes`; empty when aborted or closed. */
  async next(maxBytes: number, signal: AbortSignal): Promise<Delivered[]> {
    while (!signal.aborted && !this.#closed) {
      const session = await this.#opened(signal)
      if (session === undefined) continue
      const found = await session.take(maxBytes, signal)
      const last = found.at(-1)
      if (last !== undefined) {
        this.#position = last.seq + 1
        return found
      }
    }
    return []
  }

  /** The present session, or a new one; undefined after a failure and a wait. */
  async #opened(signal: AbortSignal): Promise<PullSession | undefined> {
    if (this.#session !== undefined && !this.#session.broken) return this.#session
    await this.#drop()
    const { stream, log, filter } = this.#options
    try {
      this.#session = await PullSession.open(this.#options, {
        deliver_policy: DeliverPolicy.StartSequence,
        opt_start_seq: this.#position,
        ...(filter !== undefined && { filter_subject: filter }),
      })
      if (this.#closed) await this.#drop() // closed while it was being made
      return this.#session
    } catch (error) {
      log.debug({ stream, reason: messageOf(error) }, 'no reader on the stream yet')
      await sleep(RETRY_MS * (0.5 + Math.random()), signal)
      return undefined
    }
  }

  /** The connection was lost and is back: what was under way will not come. */
  reconnected(): void {
    this.#session?.break()
  }

  async seek(from: number): Promise<void> {
    this.#position = Math.max(1, from)
    await this.#drop()
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.#drop()
  }

  async #drop(): Promise<void> {
    const session = this.#session
    this.#session = undefined
    await session?.close()
  }
}
