import { faultOf } from '../fault.ts'
import { firstAt, peek } from './cursor-seek.ts'
import { DEDUPE_DEFAULTS, DedupeWindow, type DedupeLimits } from './dedupe.ts'
import type { DedupePage } from './dedupe-pages.ts'
import type { WalDriver } from './driver.ts'
import { decodeEnvelope } from './envelope.ts'
import { withDeadline } from './reader-deadline.ts'
import type { Mark } from './reader-source.ts'

/** Most bytes of the log that are read again at start: seconds, so that a standby takes over in time. */
const REBUILD_BYTES = 1024 ** 3
const READ_BYTES = 8 * 1024 * 1024
const FOREVER_MS = 2 ** 31 - 1
const PURGED_MS = 2000

export interface RebuildOptions {
  /** Whether the reader is meant by what one cursor alone reads. */
  readonly isMine: (cursor: string) => boolean
  readonly limits?: DedupeLimits
  readonly maxBytes?: number
  /** What earlier readers of the cursor noted (`readPages`); the rest comes from the log. */
  readonly pages?: readonly DedupePage[]
}

/** The page that is still written to: sightings `first` to `end` of the window, `end` excluded, of these messages. */
export interface OpenPage {
  readonly number: number
  readonly from: number
  readonly first: number
  upTo: number
  end: number
  readonly marks: Mark[]
}

export interface Rebuilt {
  readonly window: DedupeWindow
  /** Where noting goes on, and the messages behind it that the log gave. */
  readonly open: OpenPage
  readonly marks: readonly Mark[]
}

/** The window as a reader at `position` has it, from pages and the messages before. Cut short when `signal` aborts. */
export async function rebuildWindow(
  driver: WalDriver,
  position: number,
  signal: AbortSignal,
  { isMine, limits = DEDUPE_DEFAULTS, maxBytes = REBUILD_BYTES, pages = [] }: RebuildOptions,
): Promise<Rebuilt> {
  const window = new DedupeWindow(limits)
  const { from, ends } = await startOf(driver, position, limits.windowMs, maxBytes, signal)
  const read = (first: number, end: number) =>
    noteLog(driver, { from: first, end, ends }, window, isMine, signal)
  const [oldest] = pages
  const newest = pages.at(-1)
  if (oldest === undefined || newest === undefined) {
    return { window, open: emptyPage(0, from, window), marks: await read(from, position) }
  }
  // Its first message may have begun on a page that is gone.
  await read(from, Math.min(position, oldest.from + 1))
  for (const page of pages) {
    const later = page.seqs.findIndex((seq) => seq >= position)
    window.restore(page, later === -1 ? page.seqs.length : later)
  }
  const at = Math.max(from, newest.upTo + 1)
  // Between the last page and `at` may be what neither pages nor the log have: no page may claim it.
  const goesOn = newest.upTo < position && at === newest.upTo + 1
  const open = goesOn ? reopened(newest, window.end) : emptyPage(newest.number + 1, at, window)
  return { window, open, marks: await read(at, position) }
}

function emptyPage(number: number, from: number, { end }: DedupeWindow): OpenPage {
  return { number, from, first: end, upTo: from - 1, end, marks: [] }
}

/** The page whose sightings are the window's newest, up to `end`. */
function reopened({ number, from, upTo, seqs, times }: DedupePage, end: number): OpenPage {
  const first = end - seqs.length
  const marks: Mark[] = []
  for (let n = 0; n < seqs.length; n++) {
    if (seqs[n] !== seqs[n + 1]) marks.push({ seq: seqs[n]!, timeMs: times[n]!, seen: first + n + 1 })
  }
  return { number, from, first, upTo, end, marks }
}

/** Notes messages `from` to `end`, `end` excluded; `ends`: the log has one at or after the last of them. */
async function noteLog(
  driver: WalDriver,
  { from, end, ends }: { readonly from: number; readonly end: number; readonly ends: boolean },
  window: DedupeWindow,
  isMine: (cursor: string) => boolean,
  signal: AbortSignal,
): Promise<Mark[]> {
  const marks: Mark[] = []
  if (from >= end) return marks
  const port = driver.reader(from)
  // Where the newest messages before the position were purged, none may ever come that says so.
  const wait = ends ? FOREVER_MS : PURGED_MS
  try {
    for (;;) {
      const messages = await orCorrupt(() =>
        withDeadline(signal, wait, (limit) => port.next(READ_BYTES, limit)),
      )
      if (messages === undefined) continue
      if (messages.length === 0) return marks
      for (const { seq, tenant, timeMs, bytes } of messages) {
        if (seq >= end) return marks
        const members = await orCorrupt(() => decodeEnvelope(bytes, seq))
        for (const member of members ?? []) {
          if (member.only === undefined || isMine(member.only)) window.pass(tenant, member, timeMs)
        }
        marks.push({ seq, timeMs, seen: window.end })
        if (seq === end - 1) return marks
      }
    }
  } finally {
    await port.close()
  }
}

/** Where the log is read from: `position`, where nothing of it is needed or left. */
async function startOf(
  driver: WalDriver,
  position: number,
  windowMs: number,
  maxBytes: number,
  signal: AbortSignal,
): Promise<{ readonly from: number; readonly ends: boolean }> {
  const info = await driver.info()
  const last = Math.min(position - 1, info.lastSeq)
  if (info.messages === 0 || last < info.firstSeq) return { from: position, ends: false }
  // Where a message at or after `last` exists, the one before it bounds the window from above.
  const end = await peek(driver, last, signal)
  const byTime =
    end === undefined ? 0 : await firstAt(driver, end.timeMs - windowMs, info.firstSeq, end.seq, signal)
  const meanBytes = Math.max(1, info.bytes / info.messages)
  const byBytes = last - Math.floor(maxBytes / meanBytes)
  return { from: Math.min(position, Math.max(info.firstSeq, byTime, byBytes)), ends: end !== undefined }
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
