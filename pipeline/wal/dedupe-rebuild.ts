import { faultOf } from '../fault.ts'
import { DEDUPE_DEFAULTS, DedupeWindow, memberKey, type DedupeLimits } from './dedupe.ts'
import type { WalDriver } from './driver.ts'
import { decodeEnvelope } from './envelope.ts'
import { firstAt, peek } from './cursor-seek.ts'

/** Most bytes of the log that are read again at start: seconds, so that a standby takes over in time. */
const REBUILD_BYTES = 1024 ** 3
const READ_BYTES = 8 * 1024 * 1024

/** The window as a reader at `position` has it, from the messages before. Empty when `signal` aborts. */
export async function rebuildWindow(
  driver: WalDriver,
  position: number,
  signal: AbortSignal,
  limits: DedupeLimits = DEDUPE_DEFAULTS,
  maxBytes = REBUILD_BYTES,
): Promise<DedupeWindow> {
  const window = new DedupeWindow(limits)
  const from = await startOf(driver, position, limits.windowMs, maxBytes, signal)
  if (from === undefined) return window
  const port = driver.reader(from)
  try {
    for (;;) {
      const messages = await port.next(READ_BYTES, signal)
      if (messages.length === 0) return window
      for (const { seq, tenant, timeMs, bytes } of messages) {
        if (seq >= position) return window
        for (const member of membersOf(bytes, seq)) window.pass(memberKey(tenant, member), timeMs)
        if (seq === position - 1) return window
      }
    }
  } finally {
    await port.close()
  }
}

async function startOf(
  driver: WalDriver,
  position: number,
  windowMs: number,
  maxBytes: number,
  signal: AbortSignal,
): Promise<number | undefined> {
  const info = await driver.info()
  const last = Math.min(position - 1, info.lastSeq)
  if (info.messages === 0 || last < info.firstSeq) return undefined
  // Where a message at or after `last` exists, the one before it bounds the window from above.
  const end = await peek(driver, last, signal)
  if (end === undefined) return undefined
  const byTime = await firstAt(driver, end.timeMs - windowMs, info.firstSeq, end.seq, signal)
  const meanBytes = Math.max(1, info.bytes / info.messages)
  const byBytes = last - Math.floor(maxBytes / meanBytes)
  const from = Math.max(info.firstSeq, byTime, byBytes)
  return from >= position ? undefined : from
}

function membersOf(bytes: Uint8Array, seq: number) {
  try {
    return decodeEnvelope(bytes, seq)
  } catch (error) {
    if (faultOf(error)?.code === 'WAL_CORRUPT') return []
    throw error
  }
}
