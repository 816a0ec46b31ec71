import { setImmediate as nextTurn } from 'node:timers/promises'
import type { StateStore } from '../state/state.ts'
import {
  decodeTrimmed,
  decodeHead,
  decodeSegment,
  HEAD,
  linesOfSegment,
  SEGMENTS,
  textOf,
  TRIMMED,
  type Head,
  type Segment,
} from './records.ts'

/** A run of lines as they are stored, `first` the number of the first. */
export interface Run {
  readonly first: number
  readonly lines: readonly string[]
}

export async function readHead(state: StateStore) {
  const entry = await state.get(HEAD)
  return entry && { head: decodeHead(entry.value), revision: entry.revision }
}

/** Ended segments, oldest first; of those that retention has removed, too. */
export async function readSegments(state: StateStore): Promise<Segment[]> {
  return (await state.list(SEGMENTS)).map(decodeSegment)
}

/** Up to which segment the lines may be gone. */
export async function readTrimmed(state: StateStore): Promise<number> {
  const entry = await state.get(TRIMMED)
  return entry === undefined ? 0 : decodeTrimmed(entry.value)
}

/** The blocks of a segment in order; of the one under way without what is still in the head. */
export async function readBlocks(state: StateStore, segment: number): Promise<Run[]> {
  const prefix = linesOfSegment(segment)
  return (await state.list(prefix)).map(({ key, value }) => ({
    first: Number(key.slice(prefix.length + 1)),
    lines: textOf(value).split('\n'),
  }))
}

/** Lines `after`+1 to the head's last, in portions, between which others have their turn of the event loop; those that retention has removed are left out. */
export async function* linesAfter(state: StateStore, head: Head, after: number): AsyncGenerator<Run> {
  for (const { segment, size } of [
    ...(await readSegments(state)),
    { segment: head.segment, size: head.size },
  ]) {
    if (size <= after || segment > head.segment) continue
    for (const run of await readBlocks(state, segment)) {
      const part = behind(run, after)
      // Blocks that were written after the head was read are its tail.
      if (part.lines.length === 0 || part.first >= head.tail_first) continue
      yield part
      await nextTurn()
    }
  }
  const tail = behind({ first: head.tail_first, lines: head.tail }, after)
  if (tail.lines.length > 0) yield tail
}

/** The same from the newest on; each portion is in order itself. */
export async function* linesBefore(
  state: StateStore,
  head: Head,
  before: number,
  wants: (segment: Segment) => boolean,
): AsyncGenerator<Run> {
  const tail = ahead({ first: head.tail_first, lines: head.tail }, before)
  if (tail.lines.length > 0) yield tail
  const closed = (await readSegments(state)).filter(
    (each) => each.segment < head.segment && each.first < before && wants(each),
  )
  for (const segment of [head.segment, ...closed.map((each) => each.segment).reverse()]) {
    for (const run of (await readBlocks(state, segment)).reverse()) {
      const part = ahead(run, before)
      if (part.lines.length === 0 || part.first >= head.tail_first) continue
      yield part
      await nextTurn()
    }
  }
}

function behind({ first, lines }: Run, after: number): Run {
  const skip = Math.max(0, after + 1 - first)
  return { first: first + skip, lines: lines.slice(skip) }
}

function ahead({ first, lines }: Run, before: number): Run {
  return { first, lines: lines.slice(0, Math.max(0, before - first)) }
}
