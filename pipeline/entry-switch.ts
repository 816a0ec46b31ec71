import type { Admitted, Entry, Head, Lookback } from './admission.ts'
import type { Batch } from './batch/batch.ts'
import type { Outcome } from './consumer.ts'
import { retry } from './fault.ts'
import { within } from './net/within.ts'

/**
 * What a receiver holds for its whole life; behind it a reload changes the pipeline. While a swap is under way
 * requests wait, none is refused.
 */
export class EntrySwitch implements Entry {
  #target: Entry | undefined
  #paused: Promise<void> | undefined
  #resume: (() => void) | undefined
  #inFlight = 0
  #onIdle: (() => void) | undefined

  get authenticated(): boolean {
    return this.#target?.authenticated === true
  }

  get lookback(): Lookback | undefined {
    return this.#target?.lookback
  }

  get redact(): Entry['redact'] {
    return this.#target?.redact
  }

  point(target: Entry): void {
    this.#target = target
  }

  admit(head: Head): Admitted | Promise<Admitted> {
    if (this.#paused === undefined) return this.#entry().admit(head)
    return this.#open().then(() => this.#entry().admit(head))
  }

  consume(batch: Batch, signal: AbortSignal): Promise<Outcome> {
    if (this.#paused !== undefined) return this.#open().then(() => this.consume(batch, signal))
    if (this.#target === undefined) return Promise.reject(notRunning())
    const outcome = this.#target.consume(batch, signal)
    this.#inFlight++
    outcome.then(this.#answered, this.#answered)
    return outcome
  }

  readonly #answered = (): void => {
    this.#inFlight--
    if (this.#inFlight === 0) this.#onIdle?.()
  }

  /** A switch may be paused again before those who waited have had their turn. */
  async #open(): Promise<void> {
    while (this.#paused !== undefined) await this.#paused
  }

  /** Holds new batches back and resolves when those in flight have been answered, or the deadline passes. */
  async pause(deadline: AbortSignal): Promise<void> {
    this.#paused ??= new Promise((resolve) => (this.#resume = resolve))
    if (this.#inFlight === 0) return
    const idle = new Promise<void>((resolve) => (this.#onIdle = resolve))
    await within(deadline, undefined, idle)
    this.#onIdle = undefined
  }

  resume(): void {
    const resume = this.#resume
    this.#paused = undefined
    this.#resume = undefined
    resume?.()
  }

  #entry(): Entry {
    if (this.#target === undefined) throw notRunning()
    return this.#target
  }
}

function notRunning() {
  return retry('SHUTTING_DOWN', 'the pipeline is not running yet', 1000)
}
