import type { Writable } from 'node:stream'
import type { z } from 'zod'
import type { Batch } from '../../pipeline/batch/batch.ts'
import type { Exporter } from '../../pipeline/component.ts'
import { ACCEPTED, type Outcome } from '../../pipeline/consumer.ts'
import { messageOf, retry } from '../../pipeline/fault.ts'
import { safeJson } from '../../pipeline/telemetry/safe-text.ts'
import type { config } from './config.ts'
import { textLines } from './text.ts'

/** Standard output, or what stands in for it. */
export interface Sink extends Pick<Writable, 'destroyed'> {
  readonly isTTY?: boolean
  on(event: 'error', listener: (error: Error) => void): unknown
  off(event: 'error', listener: (error: Error) => void): unknown
  write(text: string, done: (error?: Error | null) => void): unknown
}

const CHUNK_CHARS = 256 * 1024

/**
 * Batches for a person or a pipe. A batch is done when the system has taken its last byte: a slow reader slows the
 * exporter, nobody buffers. Batches never mix, and logs go to stderr.
 */
export class StdoutExporter implements Exporter {
  readonly #config: z.output<typeof config>
  readonly #sink: Sink
  readonly #colour: boolean
  #last: Promise<unknown> = Promise.resolve()
  #broken: Error | undefined
  readonly #onError = (error: Error): void => {
    this.#broken = error
  }

  constructor(options: z.output<typeof config>, sink: Sink, colour: boolean) {
    this.#config = options
    this.#sink = sink
    this.#colour = colour
  }

  start(): Promise<void> {
    // Without a listener a reader that goes away would end the process.
    this.#sink.on('error', this.#onError)
    return Promise.resolve()
  }

  async stop(deadline: AbortSignal): Promise<void> {
    await untilAborted(this.#last, deadline)
    this.#sink.off('error', this.#onError)
  }

  probe(): Promise<void> {
    return this.#isGone() ? Promise.reject(gone(this.#broken)) : Promise.resolve()
  }

  async consume(batch: Batch, signal: AbortSignal): Promise<Outcome> {
    const turn = this.#last.then(() => this.#write(batch, signal))
    this.#last = turn.catch(() => undefined)
    await untilAborted(turn, signal)
    if (signal.aborted) {
      throw retry('EXPORT_UNAVAILABLE', 'stdout was not read in time', undefined, { cause: signal.reason })
    }
    return ACCEPTED
  }

  async #write(batch: Batch, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return
    let chunk = ''
    for (const line of this.#lines(batch)) {
      chunk += `${line}\n`
      if (chunk.length < CHUNK_CHARS) continue
      await this.#put(chunk)
      chunk = ''
      if (signal.aborted) break
    }
    if (chunk !== '') await this.#put(chunk)
  }

  #isGone(): boolean {
    return this.#broken !== undefined || this.#sink.destroyed
  }

  #lines(batch: Batch): Iterable<string> {
    if (this.#config.format === 'text') return textLines(batch, this.#config.verbosity, this.#colour)
    return [safeJson(batch.toJson())]
  }

  /** Resolves when the system has taken it. */
  #put(text: string): Promise<void> {
    return new Promise((resolve, fail) => {
      if (this.#isGone()) {
        fail(gone(this.#broken))
        return
      }
      this.#sink.write(text, (error) =>
        error === null || error === undefined ? resolve() : fail(gone(error)),
      )
    })
  }
}

/** Retryable: what the WAL holds is not lost because a reader left. */
function gone(error: (Error & { code?: unknown }) | undefined): Error {
  const why =
    error?.code === 'EPIPE'
      ? 'its reader is gone; restart the daemon with stdout connected, or remove the exporter'
      : messageOf(error ?? 'it is closed')
  return retry('EXPORT_UNAVAILABLE', `stdout cannot be written: ${why}`, 5000, { cause: error })
}

/** Settles as `work` does, or resolves when `signal` aborts first; leaves no listener behind. */
function untilAborted(work: Promise<unknown>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, fail) => {
    const over = (): void => {
      signal.removeEventListener('abort', over)
      resolve()
    }
    if (signal.aborted) over()
    else signal.addEventListener('abort', over)
    work.then(over, (error: unknown) => {
      signal.removeEventListener('abort', over)
      fail(error)
    })
  })
}
