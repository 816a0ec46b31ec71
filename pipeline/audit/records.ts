import { z } from 'zod'
import { reject } from '../fault.ts'
import { stateKey, type StateEntry, type StateKey } from '../state/state.ts'
import { fits } from './merkle.ts'

/**
 * The log in the state store:
 *   audit.head                        the newest lines and what the chain has come to, replaced by compare-and-set
 *   audit.line.<segment>.<first seq>  a block of older lines, written once, before the head leaves them out
 *   audit.segment.<segment>           how a segment ended, with its closing checkpoint; stays when its lines are deleted
 *   audit.trimmed                     up to which segment the lines were deleted by retention: a hint, the log's entries decide
 *   audit.signer                      who signs
 * What is moved out of the head, and when, follows from the head alone: whoever does it writes the same records.
 */
export const HEAD = stateKey('audit', 'head')
export const SEGMENTS = stateKey('audit', 'segment')
export const TRIMMED = stateKey('audit', 'trimmed')
export const SIGNER = stateKey('audit', 'signer')

export const segmentKey = (segment: number): StateKey => stateKey('audit', 'segment', padded(segment))
export const linesOfSegment = (segment: number): StateKey => stateKey('audit', 'line', padded(segment))
export const blockKey = (segment: number, first: number): StateKey =>
  stateKey('audit', 'line', padded(segment), padded(first))

function padded(value: number): string {
  return String(value).padStart(16, '0')
}

const count = z.int().nonnegative()
const hash = z.union([z.string().regex(/^[A-Za-z0-9+/]{43}=$/), z.literal('')])

/** What the chain has come to after `size` lines. */
const point = {
  size: count,
  /** SHA-256 (base64) of the last line; '' of none. */
  hash,
  /** Base64. */
  frontier: z.array(hash).readonly(),
  /** Signed checkpoint of `size` and the tree's root; '' where nobody signs. */
  note: z.string(),
}

const head = z.strictObject({
  v: z.literal(1),
  /** Random, of this log: in the origin of its checkpoints. */
  log: z.string().regex(/^[0-9a-f]{16}$/),
  segment: z.int().positive(),
  /** The segment's first line. */
  first: z.int().positive(),
  /** Of the segment's first line; '' while it has none. */
  first_time: z.string(),
  /** First line that is in the head and not in a block. */
  tail_first: z.int().positive(),
  /** Of the segment's lines, as far as they are in blocks. */
  bytes: count,
  ...point,
})

const segment = z.strictObject({
  v: z.literal(1),
  log: z.string(),
  segment: z.int().positive(),
  first: z.int().positive(),
  first_time: z.string(),
  last_time: z.string(),
  ...point,
})

export type Segment = z.output<typeof segment>
export type HeadFields = z.output<typeof head>
export interface Head extends HeadFields {
  readonly tail: readonly string[]
}

/** Fields as JSON on the first line, then the tail's lines as they are. */
export function encodeHead({ tail, ...fields }: Head): Buffer {
  return Buffer.from([JSON.stringify(head.parse(fields)), ...tail].join('\n'))
}

/** Throws STATE_VERSION for what is not a head to the byte. */
export function decodeHead(value: Uint8Array): Head {
  const [fields = '', ...tail] = textOf(value).split('\n')
  const parsed = { ...exact(head, fields, 'the head of the audit log'), tail }
  if (parsed.size - parsed.tail_first + 1 !== tail.length) throw damaged('the head of the audit log')
  return parsed
}

export function encodeSegment(record: Segment): Buffer {
  return Buffer.from(JSON.stringify(segment.parse(record)))
}

export function decodeSegment({ key, value }: Pick<StateEntry, 'key' | 'value'>): Segment {
  const record = exact(segment, textOf(value), key)
  if (segmentKey(record.segment) !== key) throw damaged(key)
  return record
}

export function encodeTrimmed(segment: number): Buffer {
  return Buffer.from(String(segment))
}

export function decodeTrimmed(value: Uint8Array): number {
  const text = textOf(value)
  if (/^[1-9]\d{0,14}$/.test(text)) return Number(text)
  throw damaged(TRIMMED)
}

function exact<S extends z.ZodType<{ readonly frontier: readonly string[]; readonly size: number }>>(
  schema: S,
  text: string,
  what: string,
): z.output<S> {
  try {
    const record = schema.parse(JSON.parse(text))
    const frontier = record.frontier.map((each) => Buffer.from(each, 'base64'))
    const isExact =
      JSON.stringify(record) === text &&
      fits(frontier, record.size) &&
      frontier.every((each, at) => each.toString('base64') === record.frontier[at])
    if (isExact) return record
  } catch (cause) {
    throw damaged(what, cause)
  }
  throw damaged(what)
}

function damaged(what: string, cause?: unknown) {
  return reject(
    'STATE_VERSION',
    `${what} was written by another version of weir, or is damaged: see \`weir audit verify\``,
    {
      cause,
    },
  )
}

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Throws STATE_VERSION for bytes that are no text: a lenient reading would hide that they were changed. */
export function textOf(value: Uint8Array): string {
  try {
    return UTF8.decode(value)
  } catch (cause) {
    throw damaged('a record of the audit log', cause)
  }
}
