import { randomBytes } from 'node:crypto'
import { hashOf, lineOf, linkOf, type Fields } from './line.ts'
import { appendLeaf, rootOf, type Frontier } from './merkle.ts'
import type { Head, Segment } from './records.ts'
import type { Signer } from './signer.ts'

/** A block is written when the head has this much to carry. */
export const BLOCK_BYTES = 16 * 1024
/** A segment ends with its UTC day, or when it has this much: retention removes whole segments, and one is read at a time. */
const SEGMENT_BYTES = 8 * 1024 * 1024

/** What must be written before the head may leave its tail out. All of it follows from the head alone. */
export interface Moved {
  readonly block: { readonly segment: number; readonly first: number; readonly lines: readonly string[] }
  readonly closed?: Segment
}

export interface Step {
  readonly head: Head
  readonly moved?: Moved
}

export function originOf(log: string): string {
  return `weir.audit/${log}`
}

/** The head with `entries` behind it; `seq` of the first is `head.size` before, plus one. */
export function extended(
  before: Head | undefined,
  entries: readonly Fields[],
  signer: Signer | undefined,
): Step {
  const { head, moved } = before === undefined ? { head: EMPTY(), moved: undefined } : relieved(before)
  const tail = [...head.tail]
  let { size, hash } = head
  let frontier: Frontier = head.frontier.map((each) => Buffer.from(each, 'base64'))
  for (const fields of entries) {
    const line = lineOf(fields, size + 1, hash)
    frontier = appendLeaf(frontier, size, line)
    hash = hashOf(line)
    size++
    tail.push(line)
  }
  const note = signer?.sign({ origin: originOf(head.log), size, root: rootOf(frontier) }) ?? ''
  const texts = frontier.map((each) => each.toString('base64'))
  const first_time = head.first_time === '' ? (entries[0]?.time ?? '') : head.first_time
  const next = { ...head, first_time, size, hash, frontier: texts, note, tail }
  return moved === undefined ? { head: next } : { head: next, moved }
}

const EMPTY = (): Head => ({
  v: 1,
  log: randomBytes(8).toString('hex'),
  segment: 1,
  first: 1,
  first_time: '',
  tail_first: 1,
  bytes: 0,
  size: 0,
  hash: '',
  frontier: [],
  note: '',
  tail: [],
})

/** The head without what it need not carry any longer, and what that is. */
export function relieved(head: Head): { readonly head: Head; readonly moved: Moved | undefined } {
  const bytes = head.bytes + head.tail.reduce((sum, line) => sum + line.length, 0)
  const lastTime = timeOf(head.tail.at(-1))
  const isOver = bytes >= SEGMENT_BYTES || (lastTime !== '' && dayOf(lastTime) !== dayOf(head.first_time))
  if (!isOver && bytes - head.bytes < BLOCK_BYTES) return { head, moved: undefined }
  const { segment, first, first_time, log, size, hash, frontier, note } = head
  const block = { segment, first: head.tail_first, lines: head.tail }
  const without = { ...head, tail: [], tail_first: size + 1, bytes }
  if (!isOver) return { head: without, moved: { block } }
  const closed: Segment = {
    v: 1,
    log,
    segment,
    first,
    first_time,
    last_time: lastTime,
    size,
    hash,
    frontier,
    note,
  }
  const next = { ...without, segment: segment + 1, first: size + 1, first_time: '', bytes: 0 }
  return { head: next, moved: { block, closed } }
}

function timeOf(line: string | undefined): string {
  return line === undefined ? '' : (linkOf(line)?.time ?? '')
}

function dayOf(time: string): string {
  return time.slice(0, 10)
}
