import { retry } from '../fault.ts'
import type { LogSpan, ScannedRange, ScanOptions } from '../follower.ts'
import type { WalDriver } from './driver.ts'
import { firstAt } from './cursor-seek.ts'
import { rebuildWindow } from './dedupe-rebuild.ts'
import { withDeadline } from './reader-deadline.ts'
import { prepare } from './reader-prepare.ts'
import { RangeSource } from './reader-source.ts'

/** Where nothing comes for so long, so often, what is left was purged. */
const QUIET_MS = 5000
const QUIET_TIMES = 2

/**
 * Reads messages once more, as a cursor read them: in order, without the members that repeat earlier ones, and through
 * `process`. No cursor moves.
 */
export async function* scanLog(
  driver: WalDriver,
  { from, to, cursor, limits, process }: ScanOptions,
  signal: AbortSignal,
): AsyncGenerator<ScannedRange> {
  // However long that takes: what the cursor dropped as repeats must be dropped again.
  const isMine = (name: string) => name === cursor
  const { window } = await rebuildWindow(driver, from, signal, { isMine, maxBytes: Infinity })
  signal.throwIfAborted()
  const source = new RangeSource(driver, from, window, limits, isMine, to)
  try {
    for (let quiet = 0; ;) {
      const raw = await withDeadline(signal, QUIET_MS, (wait) => source.next(wait))
      signal.throwIfAborted()
      if (raw === undefined) {
        if (source.last >= to || ++quiet > QUIET_TIMES) break
        // The log must say that it is well: silence may be its fault.
        const { lastSeq } = await driver.info()
        if (lastSeq < from) throw retry('WAL_UNAVAILABLE', 'the write-ahead log was made anew meanwhile')
        continue
      }
      quiet = 0
      const { batches, settled } = await prepare(raw, process)
      yield {
        from: raw.from,
        to: raw.to,
        lastMs: raw.lastMs,
        batches: batches.map(({ batch }) => batch),
        spans: raw.spans,
        duplicates: raw.duplicates,
        damaged: raw.damaged.length,
        refused: settled.dead_lettered,
      }
    }
  } finally {
    await source.close()
  }
}

/** What of the log there is. */
export async function spanOfLog(driver: WalDriver): Promise<LogSpan> {
  const { firstSeq, lastSeq, oldestMs } = await driver.info()
  return { first: firstSeq, last: lastSeq, oldestMs }
}

/** The first sequence from which on all messages came at that time or later. */
export async function seqAt(driver: WalDriver, timeMs: number, signal: AbortSignal): Promise<number> {
  const { firstSeq, lastSeq, messages } = await driver.info()
  return messages === 0 ? firstSeq : await firstAt(driver, timeMs, firstSeq, lastSeq, signal)
}
