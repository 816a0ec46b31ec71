import type { WalDriver, WalMessage } from './driver.ts'
import { withDeadline } from './reader-deadline.ts'

const PEEK_MS = 5000

/** Sequence and time of the first message with sequence ≥ `from`; undefined when there is none within 5 s. */
export async function peek(
  driver: WalDriver,
  from: number,
  signal: AbortSignal,
): Promise<Pick<WalMessage, 'seq' | 'timeMs' | 'lost'> | undefined> {
  const port = driver.reader(from)
  try {
    const [first] = await withDeadline(signal, PEEK_MS, (limit) => port.next(1, limit))
    if (first === undefined) return undefined
    const { seq, timeMs, lost } = first
    return lost === true ? { seq, timeMs, lost } : { seq, timeMs }
  } finally {
    await port.close()
  }
}

/** The least sequence in `[low, high]` from which on every message is of `timeMs` or later; `high` + 1 when none is. */
export async function firstAt(
  driver: WalDriver,
  timeMs: number,
  low: number,
  high: number,
  signal: AbortSignal,
): Promise<number> {
  let from = low
  let to = high + 1
  while (from < to && !signal.aborted) {
    const middle = Math.floor((from + to) / 2)
    const found = await peek(driver, middle, signal)
    if (found === undefined || found.timeMs >= timeMs) to = middle
    else from = found.seq + 1
  }
  return from
}
