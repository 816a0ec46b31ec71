import type { Delivery, Receipt } from '../component.ts'
import type { Rejection } from '../consumer.ts'
import type { StoreChain } from '../factory.ts'
import { faultOf, messageOf } from '../fault.ts'
import { sleep } from '../sleep.ts'
import type { Log } from '../telemetry/log.ts'
import type { FrozenRecord, RowSpan } from './cursor-record.ts'
import type { HeldCursor } from './cursor-store.ts'
import { addLedger, EMPTY_LEDGER, type Ledger } from './ledger.ts'
import { Backoff } from './reader-backoff.ts'
import { boundedBy } from './reader-deadline.ts'
import type { LetterWriter, RejectedRows } from './reader-letters.ts'
import { prepare, type PreparedBatch, type PreparedRange } from './reader-prepare.ts'
import { cut, endOf, liveRows, settle, type Slice } from './reader-slice.ts'

export interface DeliverOptions {
  readonly chain: StoreChain
  readonly letters: LetterWriter
  readonly log: Log
  /** The deadline of one call of the exporter. */
  readonly timeoutMs: number
  readonly backoff: Backoff
  /** True when the WAL is full and this exporter's data must make way (`when_full: skip`). */
  readonly mustSkip: (range: PreparedRange) => Promise<boolean>
  /** Told what the destination holds now. */
  readonly onReceipt: (receipt: Receipt) => void
  /** Told what the destination last said; undefined: it took the data. */
  readonly onResult: (error: unknown) => void
}

const SKIP_CHECK_MS = 1000

/** How far one delivery came: the batches before row `reached` are settled. */
interface Attempt {
  readonly reached: number
  readonly rejected: readonly RejectedRows[]
  /** Why it came no further. */
  readonly error?: unknown
  /** End of the batch that failed, where only one did; else all from `reached` on failed. */
  readonly failedEnd?: number
}

/**
 * Delivers one frozen range until nothing of it is left: repeats on retry, bisects on reject down to single spans.
 * What is done and what is left is in the cursor's record before anything else is tried, so that a repeat after a
 * crash makes the same deliveries under the same tokens.
 */
export class Deliverer {
  readonly #options: DeliverOptions

  constructor(options: DeliverOptions) {
    this.#options = options
  }

  /** What became of the range. Throws when `signal` aborts (the range stays frozen) or the lease is lost. */
  async run(prepared: PreparedRange, held: HeldCursor, signal: AbortSignal): Promise<Ledger> {
    const { letters, chain } = this.#options
    const attempts = (held.record.frozen?.attempt ?? 0) + 1
    await this.#stubborn(signal, () => letters.refused(prepared, attempts))
    let range = prepared
    let { work, done } = progressOf(held.record.frozen, range)
    while (work.length > 0) {
      signal.throwIfAborted()
      const span = work[work.length - 1] as RowSpan
      const slice = cut(range, span)
      if (slice.live > 0 && (await this.#options.mustSkip(range))) {
        return addLedger(range.settled, addLedger(done, { skipped: liveIn(range, work) }))
      }
      const attempt = slice.live === 0 ? complete(span) : await this.#attempt(slice, held, signal)
      done = addLedger(done, await this.#settle(slice, attempt, held, signal))
      work = [...work.slice(0, -1), ...left(slice, attempt)]
      if ('error' in attempt) {
        // What a failed delivery dropped comes back: it is judged again when it is delivered again.
        if (liveTotal(range) !== range.live) range = await prepare(range.raw, chain.process)
        if (rejects(attempt.error))
          ({ work, done } = await this.#bisect(range, work, done, attempt, held, signal))
      }
      if (work.length > 0) await this.#save(held, work, done, 'error' in attempt, signal)
      if ('error' in attempt && !rejects(attempt.error)) await this.#wait(attempt.error, range, signal)
    }
    return addLedger(range.settled, done)
  }

  async #attempt(slice: Slice, held: HeldCursor, signal: AbortSignal): Promise<Attempt> {
    const { chain, timeoutMs, onResult, backoff } = this.#options
    const attempt = await boundedBy(signal, timeoutMs, chain.exporterId, (limit) =>
      chain.exporter.deliver === undefined
        ? this.#consumeEach(slice, limit)
        : this.#deliver(slice, held, limit),
    ).catch((error: unknown): Attempt => ({ reached: slice.span[0], rejected: [], error }))
    if ('error' in attempt) {
      // Ours to end, not the destination's fault.
      signal.throwIfAborted()
    } else {
      backoff.reset()
    }
    onResult(attempt.error)
    return attempt
  }

  async #deliver(slice: Slice, held: HeldCursor, signal: AbortSignal): Promise<Attempt> {
    const { chain } = this.#options
    const { from, to, token, attempt } = held.record.frozen as FrozenRecord
    const [first, end] = slice.span
    const delivery: Delivery = {
      cursor: chain.cursor,
      range: { from, to, token: slice.whole ? token : `${token}-${first}-${end}`, attempt },
      batches: slice.batches.map(({ batch }) => batch),
      spans: slice.live,
    }
    const outcome = await chain.exporter.deliver?.(delivery, signal)
    for (const receipt of outcome?.receipts ?? []) this.#options.onReceipt(receipt)
    const rejected = (outcome?.rejected ?? []).flatMap(({ batch, rejection }) => {
      const prepared = slice.batches[batch]?.prepared
      if (prepared === undefined) throw new RangeError(`${chain.exporterId} rejected rows of no batch`)
      return [rowsOf(prepared, rejection)]
    })
    return { reached: end, rejected }
  }

  async #consumeEach(slice: Slice, signal: AbortSignal): Promise<Attempt> {
    const { exporter } = this.#options.chain
    const rejected: RejectedRows[] = []
    for (const { batch, prepared } of slice.batches) {
      try {
        const outcome = await exporter.consume(batch, signal)
        for (const rejection of outcome.rejected) rejected.push(rowsOf(prepared, rejection))
      } catch (error) {
        const reached = Math.max(prepared.first, slice.span[0])
        return { reached, rejected, error, failedEnd: endOf(prepared) }
      }
    }
    return complete(slice.span, rejected)
  }

  /** Books the batches that were taken, their rejected rows made durable first. */
  async #settle(slice: Slice, attempt: Attempt, held: HeldCursor, signal: AbortSignal): Promise<Ledger> {
    const { reached, rejected } = attempt
    const taken = slice.batches.filter(({ prepared }) => Math.max(prepared.first, slice.span[0]) < reached)
    await this.#deadLetter(rejected, held, signal)
    return settle(taken, rejected)
  }

  /** Halves the row span that was rejected; a single span goes to the dead letters. */
  async #bisect(
    range: PreparedRange,
    work: readonly RowSpan[],
    done: Ledger,
    { error }: Attempt,
    held: HeldCursor,
    signal: AbortSignal,
  ): Promise<{ work: readonly RowSpan[]; done: Ledger }> {
    const [first, end] = work[work.length - 1] as RowSpan
    const others = work.slice(0, -1)
    const slice = cut(range, [first, end])
    const rows = liveRows(slice)
    if (rows.length > 1) {
      const half = rows[rows.length >> 1] as number
      return { work: [...others, [half, end], [first, half]], done }
    }
    const bad = rows.map((row) => rejectedRow(slice, row, messageOf(error)))
    await this.#deadLetter(bad, held, signal)
    return { work: others, done: addLedger(done, { dead_lettered: bad.length }) }
  }

  async #deadLetter(rows: readonly RejectedRows[], held: HeldCursor, signal: AbortSignal): Promise<void> {
    if (rows.length === 0) return
    const attempts = (held.record.frozen?.attempt ?? 0) + 1
    await this.#stubborn(signal, () => this.#options.letters.rejected(rows, attempts))
  }

  async #save(
    held: HeldCursor,
    work: readonly RowSpan[],
    done: Ledger,
    failed: boolean,
    signal: AbortSignal,
  ): Promise<void> {
    const frozen = held.record.frozen as FrozenRecord
    await held.save({ frozen: { ...frozen, work, done, attempt: frozen.attempt + (failed ? 1 : 0) } }, signal)
  }

  async #wait(error: unknown, range: PreparedRange, signal: AbortSignal): Promise<void> {
    const { backoff, log, chain, mustSkip } = this.#options
    const fault = faultOf(error)
    const waitMs = backoff.nextMs(fault?.verdict.do === 'retry' ? fault.verdict.afterMs : 0)
    const fields = {
      cursor: chain.cursor,
      error: messageOf(error),
      code: fault?.code,
      wait_ms: Math.round(waitMs),
    }
    if (fault === undefined) log.error({ ...fields, err: error }, 'An exporter failed in a way it must not')
    else log.warn(fields, 'A delivery will be repeated')
    // A WAL that fills up meanwhile must not wait for the end of this wait.
    for (let left = waitMs; left > 0 && !signal.aborted; left -= SKIP_CHECK_MS) {
      await sleep(Math.min(left, SKIP_CHECK_MS), signal)
      if (await mustSkip(range)) return
    }
  }

  /** Dead letters must be durable before the cursor moves: the state store is asked until it answers. */
  async #stubborn(signal: AbortSignal, work: () => Promise<void>): Promise<void> {
    const backoff = new Backoff(200, 10_000)
    for (;;) {
      try {
        return await work()
      } catch (error) {
        signal.throwIfAborted()
        if (faultOf(error)?.verdict.do !== 'retry') throw error
        this.#options.log.warn({ error: messageOf(error) }, 'Dead letters could not be written yet')
        await sleep(backoff.nextMs(), signal)
      }
    }
  }
}

function progressOf(
  frozen: FrozenRecord | undefined,
  range: PreparedRange,
): { work: readonly RowSpan[]; done: Ledger } {
  return { work: frozen?.work ?? [[0, range.rows]], done: frozen?.done ?? EMPTY_LEDGER }
}

function complete(span: RowSpan, rejected: readonly RejectedRows[] = []): Attempt {
  return { reached: span[1], rejected }
}

function rejects(error: unknown): boolean {
  return faultOf(error)?.verdict.do === 'reject'
}

/** What of the slice is still to be delivered, last first: a batch that was rejected comes first, alone. */
function left({ span }: Slice, attempt: Attempt): RowSpan[] {
  if (!('error' in attempt)) return []
  const failedEnd = Math.min(attempt.failedEnd ?? span[1], span[1])
  if (!rejects(attempt.error) || failedEnd === span[1]) return [[attempt.reached, span[1]]]
  return [
    [failedEnd, span[1]],
    [attempt.reached, failedEnd],
  ]
}

function rowsOf(batch: PreparedBatch, { rows, reason, count }: Rejection): RejectedRows {
  const each = Array.from(new Set(rows))
  return { batch, rows: each, count: Math.min(count ?? each.length, each.length), reason }
}

function rejectedRow(slice: Slice, row: number, reason: string): RejectedRows {
  const batch = slice.batches.find(({ prepared }) => row >= prepared.first && row < endOf(prepared))
  if (batch === undefined) throw new RangeError(`row ${row} is in no batch`)
  return { batch: batch.prepared, rows: [row - batch.prepared.first], count: 1, reason }
}

function liveIn(range: PreparedRange, work: readonly RowSpan[]): number {
  return work.reduce((sum, span) => sum + cut(range, span).live, 0)
}

function liveTotal(range: PreparedRange): number {
  return range.batches.reduce((sum, { batch }) => sum + batch.live, 0)
}
