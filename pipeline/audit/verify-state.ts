import { setImmediate as nextTurn } from 'node:timers/promises'
import { faultOf } from '../fault.ts'
import type { StateStore } from '../state/state.ts'
import { relieved } from './chain.ts'
import { linkOf } from './line.ts'
import { fingerprintOf } from './note.ts'
import { readBlocks, readHead, readSegments, readTrimmed, type Run } from './reader.ts'
import { encodeHead, encodeSegment, type Head, type Segment } from './records.ts'
import { publicKeyIn } from './signer.ts'
import { digestOf, TRIM, trimOf } from './trim.ts'
import {
  checkTrust,
  findingOf,
  numbers,
  START,
  Tampered,
  Walk,
  type Finding,
  type Point,
  type Verdict,
} from './verify.ts'

export interface StateAgainst {
  /** Fingerprints of keys that are known from elsewhere: the one in the store may be an intruder's. */
  readonly trusted?: readonly string[]
  /** Checkpoints that were kept elsewhere. */
  readonly anchors?: readonly string[]
  readonly copy?: LogCopy
}

/** A copy of the log in another store. */
export interface LogCopy {
  /** Hears every line of the log in order; throws Tampered where the copy has another. */
  check(log: string, first: number, lines: readonly string[]): Promise<void>
  /** The highest number that the copy has now; 0: none. */
  last(log: string): Promise<number>
}

/** Follows the whole log as it is in the state store. Rejects only when the store does not answer. */
export async function verifyState(state: StateStore, against: StateAgainst = {}): Promise<Verdict> {
  const check = new StateCheck(state, against)
  try {
    await check.run()
    return check.verdict()
  } catch (error) {
    if (faultOf(error)?.verdict.do === 'retry') throw error
    return check.verdict(findingOf(error, check.next))
  }
}

class StateCheck {
  readonly #state: StateStore
  readonly #against: StateAgainst
  readonly #notes: string[] = []
  readonly #trims = new Map<number, string>()
  #key: Buffer | undefined
  #head: Head | undefined
  #first = 1
  #walk: Walk | undefined

  constructor(state: StateStore, against: StateAgainst) {
    this.#state = state
    this.#against = against
  }

  /** The number of the entry that comes next. */
  get next(): number {
    return (this.#walk?.point.size ?? this.#first - 1) + 1
  }

  verdict(finding?: Finding): Verdict {
    return {
      ok: finding === undefined,
      log: this.#head?.log ?? '',
      first: this.#first,
      last: this.next - 1,
      keys: this.#key === undefined ? [] : [fingerprintOf(this.#key)],
      checkpoint: this.#head?.note ?? '',
      notes: this.#notes,
      ...(finding && { finding }),
    }
  }

  async run(): Promise<void> {
    this.#key = await publicKeyIn(this.#state)
    checkTrust(this.#key === undefined ? [] : [this.#key], this.#against.trusted)
    const read = await readHead(this.#state)
    const segments = await readSegments(this.#state)
    if (read === undefined) return this.#checkEmpty(segments)
    this.#head = read.head
    if (this.#key === undefined) {
      this.#notes.push('the log is not signed: whoever can write the state store can write it anew')
    }
    const trimmed = await readTrimmed(this.#state)
    const ended = segments.filter(({ segment }) => segment < read.head.segment && segment >= trimmed)
    this.#checkOrder(read.head, ended, trimmed)
    const base = trimmed === 0 ? undefined : ended[0]
    const walk = this.#start(read.head, base)
    for (const segment of base === undefined ? ended : ended.slice(1)) await this.#ended(segment, walk)
    await this.#underWay(read.head, walk)
    walk.end()
    await this.#checkCopied(walk)
    this.#checkTrim(base)
    await this.#checkLeftOver(read)
  }

  /** What is copied was in the log: where the copy has more, and the log has not grown meanwhile, its end was cut off. */
  async #checkCopied({ log, point }: Walk): Promise<void> {
    const copied = (await this.#against.copy?.last(log)) ?? 0
    const size = copied <= point.size ? copied : ((await readHead(this.#state))?.head.size ?? 0)
    if (size >= copied) return
    throw new Tampered(
      'truncated',
      size + 1,
      `the log ends at entry ${size}, and audit_log of ClickHouse has ${copied}`,
    )
  }

  /** No head: there must be nothing else, unless nothing was ever written. */
  #checkEmpty(segments: readonly Segment[]): void {
    if (segments.length > 0) throw new Tampered('truncated', 1, 'the head of the log is not there')
    new Walk('', this.#known()).end()
    this.#notes.push('there are no entries yet')
  }

  #checkOrder(head: Head, ended: readonly Segment[], trimmed: number): void {
    const first = trimmed === 0 ? 1 : trimmed
    for (const [at, { segment, size }] of ended.entries()) {
      if (segment === first + at) continue
      throw new Tampered(
        'missing',
        (ended[at - 1]?.size ?? 0) + 1,
        `the segment that ended before entry ${size} is not there`,
      )
    }
    if (first + ended.length === head.segment) return
    throw new Tampered(
      'missing',
      (ended.at(-1)?.size ?? 0) + 1,
      `segment ${first + ended.length} is not there`,
    )
  }

  #start(head: Head, base: Segment | undefined): Walk {
    const from = base === undefined ? START : pointOf(base)
    this.#first = from.size + 1
    const walk = new Walk(head.log, this.#known(), from)
    this.#walk = walk
    if (base === undefined) return walk
    this.#notes.push(`entries 1 to ${base.size} were removed by retention`)
    this.#checkNote(base.note, `the checkpoint of segment ${base.segment}`, walk)
    return walk
  }

  #known() {
    return { keys: this.#key === undefined ? [] : [this.#key], anchors: this.#against.anchors ?? [] }
  }

  async #pass(run: Run, walk: Walk): Promise<void> {
    const seq = walk.point.size + 1
    if (run.first > seq) throw new Tampered('missing', seq, `${numbers(seq, run.first - 1)} not there`)
    if (run.first < seq) throw new Tampered('inserted', seq, `lines of number ${run.first} on stand twice`)
    const lines = run.lines.map((line, at) => walk.step(line, run.lines[at + 1]))
    for (const line of lines) if (line.action === TRIM) this.#trims.set(...trimOf(line))
    await this.#against.copy?.check(walk.log, run.first, run.lines)
    // Leases and health checks need their share of the event loop.
    await nextTurn()
  }

  async #ended(segment: Segment, walk: Walk): Promise<void> {
    const times: string[] = []
    const from = walk.point.size + 1
    for (const run of await readBlocks(this.#state, segment.segment)) {
      await this.#pass(run, walk)
      times.push(timeOf(run.lines[0]), timeOf(run.lines.at(-1)))
    }
    const { size, hash, frontier } = walk.point
    if (size < segment.size)
      throw new Tampered('missing', size + 1, `${numbers(size + 1, segment.size)} not there`)
    checkLast(walk.point, segment)
    const { note } = segment
    const expected: Segment = {
      v: 1,
      log: this.#head?.log ?? '',
      segment: segment.segment,
      first: from,
      first_time: times[0] ?? '',
      last_time: times.at(-1) ?? '',
      size,
      hash,
      frontier: frontier.map((each) => each.toString('base64')),
      note,
    }
    if (!encodeSegment(expected).equals(encodeSegment(segment))) {
      throw new Tampered(
        'record',
        from,
        `the closing record of segment ${segment.segment} is not of its entries`,
      )
    }
    this.#checkNote(note, `the checkpoint of segment ${segment.segment}`, walk)
  }

  /** What is in blocks already, then what the head carries. */
  async #underWay(head: Head, walk: Walk): Promise<void> {
    const from = walk.point.size + 1
    let bytes = 0
    let first: string | undefined
    for (const run of await readBlocks(this.#state, head.segment)) {
      if (run.first >= head.tail_first) continue
      await this.#pass(run, walk)
      bytes += run.lines.reduce((sum, line) => sum + line.length, 0)
      first ??= run.lines[0]
    }
    await this.#pass({ first: head.tail_first, lines: head.tail }, walk)
    checkLast(walk.point, head)
    const { size, hash, frontier } = walk.point
    const expected: Head = {
      ...head,
      first: from,
      first_time: timeOf(first ?? head.tail[0]),
      bytes,
      size,
      hash,
      frontier: frontier.map((each) => each.toString('base64')),
    }
    if (!encodeHead(expected).equals(encodeHead(head))) {
      throw new Tampered('record', size, 'the head of the log is not of its entries')
    }
    this.#checkNote(head.note, 'the newest checkpoint', walk)
  }

  #checkNote(note: string, what: string, walk: Walk): void {
    if (this.#key !== undefined && note !== '') return walk.check(note, what)
    if (this.#key === undefined && note !== '') {
      throw new Tampered(
        'signature',
        walk.point.size,
        `${what} is signed, and the record of who signs is not there`,
      )
    }
    if (this.#key === undefined) return
    if (note === this.#head?.note) throw new Tampered('signature', walk.point.size, `${what} is not signed`)
    // A log that was begun without a key; everything is under the newest checkpoint all the same.
    this.#notes.push(`${what} is not signed`)
  }

  /** What retention removed must be confirmed by an entry that is still there. */
  #checkTrim(base: Segment | undefined): void {
    if (base === undefined || this.#trims.get(base.segment) === digestOf(base)) return
    throw new Tampered(
      'missing',
      1,
      `entries 1 to ${base.size} are not there, and no entry says that retention removed them`,
    )
  }

  /**
   * Records behind the head's: of a daemon that ended before it replaced the head, who wrote what the head says; or of
   * one that replaced it meanwhile.
   */
  async #checkLeftOver({
    head,
    revision,
  }: {
    readonly head: Head
    readonly revision: number
  }): Promise<void> {
    const { moved } = relieved(head)
    const blocks = (await readBlocks(this.#state, head.segment)).filter(
      ({ first }) => first >= head.tail_first,
    )
    const beyond = (await readSegments(this.#state)).filter(({ segment }) => segment >= head.segment)
    const isOurs =
      blocks.every(
        ({ first, lines }) =>
          first === moved?.block.first && lines.join('\n') === moved.block.lines.join('\n'),
      ) &&
      beyond.every(
        (each) => moved?.closed !== undefined && encodeSegment(each).equals(encodeSegment(moved.closed)),
      )
    if (isOurs || (await readHead(this.#state))?.revision !== revision) return
    throw new Tampered('inserted', head.size + 1, 'there are records behind the end of the log')
  }
}

function pointOf({ size, hash, frontier }: Segment): Point {
  return { size, hash, frontier: frontier.map((each) => Buffer.from(each, 'base64')) }
}

/** Nothing follows the last line; what ended there knows its hash. */
function checkLast({ size, hash }: Point, recorded: { readonly size: number; readonly hash: string }): void {
  if (size !== recorded.size || hash === recorded.hash) return
  throw new Tampered('altered', size, `entry ${size} is not the one that the chain was made of`)
}

function timeOf(line: string | undefined): string {
  return line === undefined ? '' : (linkOf(line)?.time ?? '')
}
