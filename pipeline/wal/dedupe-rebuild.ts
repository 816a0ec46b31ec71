import { faultOf } from '../fault.ts'
import { DEDUPE_DEFAULTS, DedupeWindow, type DedupeLimits } from './dedupe.ts'
import type { WalDriver } from './driver.ts'
import { decodeEnvelope } from './envelope.ts'
import { firstAt, peek } from './cursor-seek.ts'
import { withDeadline } from './reader-deadline.ts'

/** Most bytes of the log that are read again at start: seconds, so that a standby takes over in time. */
const REBUILD_BYTES = 1024 ** 3
const READ_BYTES = 8 * 1024 * 1024
const FOREVER_MS = 2 ** 31 - 1
const PURGED_MS = 2000

/** The window as a reader at `position` has it, from the messages before. Empty when `signal` aborts. */
export async function rebuildWindow(
  driver: WalDriver,
  position: number,
  signal: AbortSignal,
  limits: DedupeLimits = DEDUPE_DEFAULTS,
  maxBytes = REBUILD_BYTES,
): Promise<DedupeWindow> {
  const window = new DedupeWindow(limits)
  const start = await startOf(driver, position, limits.windowMs, maxBytes, signal)
  if (start === undefined) return window
  const port = driver.reader(start.from)
  // Where the newest messages before the position were purged, none may ever come that says so.
  const wait = start.ends ? FOREVER_MS : PURGED_MS
  try {
    for (;;) {
      const messages = await orCorrupt(() =>
        withDeadline(signal, wait, (limit) => port.next(READ_BYTES, limit)),
      )
      if (messages === undefined) continue
      if (messages.length === 0) return window
      for (const { seq, tenant, timeMs, bytes } of messages) {
        if (seq >= position) return window
        const members = await orCorrupt(() => decodeEnvelope(bytes, seq))
        for (const member of members ?? []) window.pass(tenant, member, timeMs)
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
): Promise<{ readonly from: number; readonly ends: boolean } | undefined> {
  const info = await driver.info()
  const last = Math.min(position - 1, info.lastSeq)
  if (info.messages === 0 || last < info.firstSeq) return undefined
  // Where a message at or after `last` exists, the one before it bounds the window from above.
  const end = await peek(driver, last, signal)
  const byTime =
    end === undefined ? 0 : await firstAt(driver, end.timeMs - windowMs, info.firstSeq, end.seq, signal)
  const meanBytes = Math.max(1, info.bytes / info.messages)
  const byBytes = last - Math.floor(maxBytes / meanBytes)
  const from = Math.max(info.firstSeq, byTime, byBytes)
  return from >= position ? undefined : { from, ends: end !== undefined }
}

/** Undefined for what is damaged: the reader has its dead letter. */
async function orCorrupt<T>(read: () => T | Promise<T>): Promise<T | undefined> {
  try {
    return await read()
  } catch (error) {
    if (faultOf(error)?.code === 'WAL_CORRUPT') return undefined
    throw error
  }
}
