import { messageOf } from '../fault.ts'
import { originOf } from './chain.ts'
import { hashOf, linkOf, type Link } from './line.ts'
import { appendLeaf, rootOf, type Frontier } from './merkle.ts'
import { fingerprintOf, openNote } from './note.ts'

/**
 * What can be wrong, at which entry:
 *   malformed   a line is not an entry, or was rewritten     altered    a line is not the one that the next one follows
 *   missing     entries are not there                        inserted   a line stands where another number belongs
 *   checkpoint  the lines do not come to what was signed     signature  a checkpoint is not signed by a known key
 *   truncated   the log ends before a checkpoint             record     a record around the lines was changed
 *   copy        the log is whole, but its copy in ClickHouse is another
 */
export type Damage =
  | 'malformed'
  | 'altered'
  | 'missing'
  | 'inserted'
  | 'checkpoint'
  | 'signature'
  | 'truncated'
  | 'record'
  | 'copy'

export interface Finding {
  readonly kind: Damage
  /** The first entry that is not as it was; 0: before the first. */
  readonly seq: number
  readonly message: string
}

/** Thrown by a walk at the first thing that is wrong. */
export class Tampered extends Error {
  readonly finding: Finding

  constructor(kind: Damage, seq: number, message: string) {
    super(message)
    this.finding = { kind, seq, message }
  }
}

/** What the chain has come to. */
export interface Point {
  readonly size: number
  readonly hash: string
  readonly frontier: Frontier
}

/** What the log is compared with. */
export interface Against {
  /** Public keys that may have signed; empty: nobody is expected to have. */
  readonly keys: readonly Uint8Array[]
  /** Checkpoints that were kept elsewhere. */
  readonly anchors?: readonly string[]
}

export interface Verdict {
  readonly ok: boolean
  readonly log: string
  /** Entries that were followed: `first` to `last`. */
  readonly first: number
  readonly last: number
  /** Fingerprints of the keys that the checkpoints were checked with. */
  readonly keys: readonly string[]
  /** The newest signed checkpoint: keep it elsewhere, so that a later truncation can be proved. */
  readonly checkpoint: string
  readonly finding?: Finding
  /** What is as it is by design and should be known. */
  readonly notes: readonly string[]
}

export const START: Point = { size: 0, hash: '', frontier: [] }

/** Follows the lines one by one from a point that is known, and compares it with what was signed. */
export class Walk {
  readonly #log: string
  readonly #against: Against
  /** Anchors that lie ahead, by size. */
  readonly #anchors: Map<number, string[]>
  #point: Point
  #previous: string | undefined

  constructor(log: string, against: Against, from: Point = START) {
    this.#log = log
    this.#against = against
    this.#point = from
    this.#anchors = bySize(against.anchors ?? [])
    for (const size of this.#anchors.keys()) if (size < from.size) this.#anchors.delete(size)
    this.#checkAnchors()
  }

  get log(): string {
    return this.#log
  }

  get point(): Point {
    return this.#point
  }

  /** The next line of the log; throws Tampered. `next`: the line after it, to tell which of two was altered. */
  step(line: string, next?: string): Link {
    const { size, hash, frontier } = this.#point
    const seq = size + 1
    const parsed = linkOf(line)
    if (parsed === undefined)
      throw new Tampered('malformed', seq, `entry ${seq} is not as the log writes one`)
    if (parsed.seq > seq) throw new Tampered('missing', seq, `${numbers(seq, parsed.seq - 1)} not there`)
    if (parsed.seq < seq) {
      throw new Tampered('inserted', seq, `where entry ${seq} belongs stands one of number ${parsed.seq}`)
    }
    if (parsed.prev !== hash) throw this.#altered(seq, line, next)
    this.#point = { size: seq, hash: hashOf(line), frontier: appendLeaf(frontier, size, line) }
    this.#previous = line
    this.#checkAnchors()
    return parsed
  }

  /** At the log's end: every anchor must have been passed. Throws Tampered. */
  end(): void {
    const { size } = this.#point
    const [beyond] = [...this.#anchors.keys()].sort((a, b) => a - b)
    if (beyond === undefined) return
    throw new Tampered(
      'truncated',
      size + 1,
      `the log ends at entry ${size}, and a checkpoint was kept of ${beyond}`,
    )
  }

  #checkAnchors(): void {
    const { size } = this.#point
    for (const note of this.#anchors.get(size) ?? [])
      this.check(note, `the checkpoint of ${size} that was kept`)
    this.#anchors.delete(size)
  }

  /** Two neighbours do not fit each other: the one that its own successor still follows is the right one. */
  #altered(seq: number, line: string, next: string | undefined): Tampered {
    const isFollowed = next !== undefined && linkOf(next)?.prev === hashOf(line)
    const at = isFollowed && this.#previous !== undefined ? seq - 1 : seq
    return new Tampered('altered', at, `entry ${at} is not the one that the chain was made of`)
  }

  /** A checkpoint of exactly where the walk stands. */
  check(note: string, what: string): void {
    const { size, frontier } = this.#point
    const checkpoint = openNote(note, this.#against.keys)
    if (typeof checkpoint === 'string') throw new Tampered('signature', size, `${what}: ${checkpoint}`)
    if (checkpoint.origin !== originOf(this.#log)) {
      throw new Tampered('signature', size, `${what} is of another log: ${checkpoint.origin}`)
    }
    if (checkpoint.size !== size || !checkpoint.root.equals(rootOf(frontier))) {
      throw new Tampered(
        'checkpoint',
        size,
        `the entries up to ${size} are not those that ${what} was signed for`,
      )
    }
  }
}

/** The walk's finding, or what else went wrong in reading the records. */
export function findingOf(error: unknown, seq: number): Finding {
  if (error instanceof Tampered) return error.finding
  return { kind: 'record', seq, message: messageOf(error) }
}

export function numbers(from: number, to: number): string {
  return from === to ? `entry ${from} is` : `entries ${from} to ${to} are`
}

/** The size that a checkpoint is of; 0 where it has none, which `check` then tells. */
function sizeOf(note: string): number {
  return Number(/^[^\n]*\n(\d{1,16})\n/.exec(note)?.[1] ?? 0)
}

/** Throws Tampered when none of the log's keys is one that is trusted. */
export function checkTrust(keys: readonly Uint8Array[], trusted: readonly string[] | undefined): void {
  if (trusted === undefined || keys.some((key) => trusted.includes(fingerprintOf(key)))) return
  const [key] = keys
  const who = key === undefined ? 'nobody' : `key ${fingerprintOf(key)}`
  throw new Tampered('signature', 0, `the log is signed by ${who}, which is not the key that was given`)
}

function bySize(notes: readonly string[]): Map<number, string[]> {
  const found = new Map<number, string[]>()
  for (const note of notes) found.set(sizeOf(note), [...(found.get(sizeOf(note)) ?? []), note])
  return found
}
