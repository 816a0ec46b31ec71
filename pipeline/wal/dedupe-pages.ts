import { stateKey, type StateKey, type StateStore } from '../state/state.ts'
import type { CursorRecord } from './cursor-record.ts'
import { mostSightings, type DedupeLimits, type Sightings } from './dedupe.ts'

/**
 * What a cursor's window has noted, kept in state: the log may have been trimmed, and twenty minutes of a busy one are
 * more than a start can read. Pages are numbered; with those before it a page has every member of the messages up to
 * `upTo`, each of which the cursor has passed. They lie in a ring of slots, so that none is ever deleted. Little endian:
 *
 *     0  u8   format version
 *     1  u8   length of the epoch
 *     2  u16  0
 *     4  u32  number of sightings
 *     8  f64  number · 16 f64 from · 24 f64 upTo · 32 f64 WAL time of the first sighting, Unix ms
 *    40  the cursor's epoch, ASCII: pages of another log than the cursor's are not its own
 *        sightings, 24 bytes each: u32 sequence less `from` · i32 WAL time less the first · four u32 of the key
 *
 * A message may go over several pages; the last of them has it in its range. */
export interface DedupePage extends Sightings {
  readonly number: number
  readonly epoch: string
  readonly from: number
  readonly upTo: number
  /** The message of each sighting. */
  readonly seqs: Float64Array
}

export interface PagePlace {
  readonly connector: string
  readonly state: StateStore
}

const PAGE_VERSION = 1
const HEAD = 40
const SIGHTING = 24

/** A full page has 240 KB: servers of NATS may be set to less than their 1 MiB. */
export const PAGE_SIGHTINGS = 10_000
/** A page takes no message that is so much later, in WAL time. */
export const PAGE_MS = 30_000
/** 200 full pages for two million, 80 old ones for the 20 minutes of a window that a recheck looks back 15 minutes for. */
export const PAGE_SLOTS = 280

/** The cursor's pages, of all its epochs. */
export function pagesPrefix(connector: string, cursor: string): StateKey {
  return stateKey('dedupe', connector, cursor)
}

export function pageKey(connector: string, cursor: string, number: number): StateKey {
  return stateKey('dedupe', connector, cursor, String(number % PAGE_SLOTS))
}

/**
 * The pages of a window at `position`, oldest first and without a gap between their numbers: read one by one, back from
 * the one that the record names, so that no answer is large and nothing else waits long.
 */
export async function readPages(
  { connector, state }: PagePlace,
  { cursor, epoch, window }: CursorRecord,
  position: number,
  limits: DedupeLimits,
): Promise<DedupePage[]> {
  const pages: DedupePage[] = []
  let sightings = 0
  let sinceMs = -Infinity
  for (let number = window?.page ?? -1; number >= 0 && pages.length < PAGE_SLOTS; number--) {
    const entry = await state.get(pageKey(connector, cursor, number))
    const page = entry === undefined ? undefined : decodePage(entry.value)
    if (page === undefined || page.number !== number || page.epoch !== epoch) break
    if (page.from >= position) continue
    if (pages.length === 0) sinceMs = newestOf(page) - limits.windowMs
    pages.push(page)
    sightings += page.times.length
    if (sightings >= mostSightings(limits) || newestOf(page) < sinceMs) break
  }
  return pages.toReversed()
}

/** A page without members ends no search. */
function newestOf({ times }: DedupePage): number {
  return times.at(-1) ?? Infinity
}

export function encodePage({ number, epoch, from, upTo, seqs, words, times }: DedupePage): Uint8Array {
  const start = HEAD + epoch.length
  const base = times[0] ?? 0
  const out = Buffer.alloc(start + SIGHTING * times.length)
  out.writeUInt8(PAGE_VERSION, 0)
  out.writeUInt8(epoch.length, 1)
  out.writeUInt32LE(times.length, 4)
  out.writeDoubleLE(number, 8)
  out.writeDoubleLE(from, 16)
  out.writeDoubleLE(upTo, 24)
  out.writeDoubleLE(base, 32)
  out.write(epoch, HEAD, 'ascii')
  for (let n = 0, at = start; n < times.length; n++, at += SIGHTING) {
    out.writeUInt32LE(seqs[n]! - from, at)
    out.writeInt32LE(times[n]! - base, at + 4)
    for (let word = 0; word < 4; word++) out.writeUInt32LE(words[4 * n + word]!, at + 8 + 4 * word)
  }
  return out
}

/** Undefined: of another format, or cut short; the log may still have what it held. */
function decodePage(value: Uint8Array): DedupePage | undefined {
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.length)
  if (bytes.length < HEAD || bytes.readUInt8(0) !== PAGE_VERSION) return undefined
  const start = HEAD + bytes.readUInt8(1)
  const count = bytes.readUInt32LE(4)
  if (bytes.length !== start + SIGHTING * count) return undefined
  const from = bytes.readDoubleLE(16)
  const base = bytes.readDoubleLE(32)
  const seqs = new Float64Array(count)
  const words = new Uint32Array(4 * count)
  const times = new Float64Array(count)
  for (let n = 0, at = start; n < count; n++, at += SIGHTING) {
    seqs[n] = from + bytes.readUInt32LE(at)
    times[n] = base + bytes.readInt32LE(at + 4)
    for (let word = 0; word < 4; word++) words[4 * n + word] = bytes.readUInt32LE(at + 8 + 4 * word)
  }
  const upTo = bytes.readDoubleLE(24)
  return {
    number: bytes.readDoubleLE(8),
    epoch: bytes.toString('ascii', HEAD, start),
    from,
    upTo,
    seqs,
    words,
    times,
  }
}
