import { hash } from 'node:crypto'
import type { Standing } from '../../pipeline/admission.ts'
import type { Outcome } from '../../pipeline/consumer.ts'
import { digestOf } from '../../pipeline/digest.ts'
import type { Context } from '../../pipeline/factory.ts'
import { faultOf } from '../../pipeline/fault.ts'
import type { Checkpoint, Checkpoints, Frozen, Stored } from './checkpoint.ts'
import type { JsonlConfig } from './config.ts'
import type { Decoder } from './decode.ts'
import { encodingOf, type Encoding } from './encoding.ts'
import { begins, fingerprintOf, tailOf, TAIL_BYTES } from './fingerprint.ts'
import type { LineLetters, Unreadable } from './letters.ts'
import { isVerdict, type Publisher } from './publisher.ts'
import { Range } from './range.ts'
import { readAt } from './read-at.ts'
import { RangeReader, type BufferPool, type Next } from './range-reader.ts'
import type { Source } from './source.ts'

/** What the tails of a receiver share. */
export interface TailServices {
  readonly config: JsonlConfig
  readonly context: Context
  readonly checkpoints: Checkpoints
  readonly publisher: Publisher
  readonly decoder: Decoder
  readonly letters: LineLetters
  readonly buffers: BufferPool
}

/** `more`: the turn's share is used up; `replaced`: it is not the file any more that was read so far. */
export type Turn = 'more' | 'end' | 'replaced'

/** One file, read from its checkpoint on. */
export class Tail {
  readonly #services: TailServices
  readonly #source: Source
  readonly #encoding: Encoding
  readonly #reader: RangeReader
  #stored: Stored
  /** What is safe, which may be ahead of what is stored: the next write brings it along. */
  #offset: number
  #before: Buffer = Buffer.alloc(0)
  #rest: { readonly length: number; readonly sinceMs: number; tried: boolean } | undefined

  private constructor(services: TailServices, source: Source, stored: Stored, before: Buffer, head: Buffer) {
    const { config, buffers } = services
    this.#services = services
    this.#source = source
    this.#stored = stored
    this.#offset = stored.checkpoint.offset
    this.#before = before
    this.#encoding = encodingOf(config.encoding, head)
    this.#reader = new RangeReader(source, buffers, config.max_log_size, this.#encoding.newline)
  }

  /** Undefined when the source is not the file of the checkpoint. */
  static async open(services: TailServices, source: Source, stored: Stored): Promise<Tail | undefined> {
    const { checkpoint } = stored
    const head = await readAt(source, 0, Math.max(2, checkpoint.fingerprint.length))
    if (!begins(head, checkpoint.fingerprint)) return undefined
    const from = Math.max(0, checkpoint.offset - TAIL_BYTES)
    const before = await readAt(source, from, checkpoint.offset - from)
    if (tailOf(before, before.length) !== checkpoint.tail || before.length !== checkpoint.offset - from)
      return undefined
    return new Tail(services, source, stored, before, head)
  }

  get stored(): Stored {
    return this.#stored
  }

  get offset(): number {
    return this.#offset
  }

  /** Bytes not read yet; 0 where nobody knows. */
  async backlog(): Promise<number> {
    const size = await this.#source.size()
    return size === undefined ? 0 : Math.max(0, size - this.#offset)
  }

  /** Whether a line without its newline waits at the end. */
  get hasRest(): boolean {
    return this.#rest !== undefined && !this.#rest.tried
  }

  /** Nothing stands behind what was taken. */
  get isAtEnd(): boolean {
    return this.#rest === undefined
  }

  /** Notes that the file cannot be read on from here. */
  async buryDamage(reason: string): Promise<void> {
    const letter = { offset: this.#offset, length: 0, lines: 1, reason, sha256: '' }
    const { tenant, project } = this.#services.config
    await this.#bury([letter], { tenant, project, principal: '' })
  }

  /** Whether these bytes stand at that place of the file. */
  async holds(position: number, bytes: Buffer): Promise<boolean> {
    return bytes.equals(await readAt(this.#source, position, bytes.length))
  }

  /** Reads up to about `bytes`. `final`: nobody writes to the file any more. */
  async turn(bytes: number, final: boolean, signal: AbortSignal): Promise<Turn> {
    try {
      if (!(await this.#repeatFrozen(signal))) return 'replaced'
      const until = this.#offset + bytes
      while (this.#offset < until) {
        const next = await this.#reader.next(this.#offset, final)
        // After the read: what was read may be of a file that was truncated and has grown again meanwhile.
        if (!(await this.isSame())) return 'replaced'
        if (!(await this.#take(next, final, signal))) return 'end'
      }
      return 'more'
    } finally {
      this.#reader.release()
    }
  }

  /** Whether the file still holds what was read of it. */
  async isSame(): Promise<boolean> {
    const size = await this.#source.size()
    if (size === undefined) return true
    if (size < this.#offset) return false
    const { length } = this.#before
    const { fingerprint } = this.#stored.checkpoint
    // Lines often end alike: the beginning tells one that was truncated and has grown again.
    return (
      begins(await readAt(this.#source, 0, fingerprint.length), fingerprint) &&
      this.#before.equals(await readAt(this.#source, this.#offset - length, length))
    )
  }

  /** After a crash: exactly the range that was under way. */
  async #repeatFrozen(signal: AbortSignal): Promise<boolean> {
    const { frozen, offset } = this.#stored.checkpoint
    if (frozen === undefined || offset !== this.#offset) return true
    const bytes = await this.#reader.exactly(offset, frozen.to - offset)
    if (bytes === undefined || !(await this.isSame())) return false
    await this.#pass(new Range(offset, bytes, this.#encoding), signal, frozen)
    return true
  }

  /** False at the end of what can be taken now. */
  async #take(next: Next, final: boolean, signal: AbortSignal): Promise<boolean> {
    if (next.what === 'end') return false
    if (next.what === 'too_long') {
      await this.#tooLong(next, signal)
      return true
    }
    if (next.what === 'rest' && !final && !this.#isRipe(next.bytes)) return false
    const { spansUntil = 0 } = this.#stored.checkpoint
    const most = spansUntil > this.#offset ? spansUntil - this.#offset : Infinity
    await this.#pass(new Range(this.#offset, next.bytes.subarray(0, most), this.#encoding), signal)
    return true
  }

  /** A last line without its newline is taken after a while if it is whole: no beginning of a JSON object is JSON. */
  #isRipe(bytes: Buffer): boolean {
    const { config, context } = this.#services
    const now = context.clock()
    if (this.#rest?.length !== bytes.length) this.#rest = { length: bytes.length, sinceMs: now, tried: false }
    const { sinceMs, tried } = this.#rest
    if (tried || config.force_flush_period === 0 || now - sinceMs < config.force_flush_period) return false
    this.#rest.tried = true
    return isJsonObject(this.#encoding.utf8(bytes))
  }

  async #tooLong(next: Extract<Next, { what: 'too_long' }>, signal: AbortSignal): Promise<void> {
    const reason = `the line is longer than max_log_size (${this.#services.config.max_log_size} bytes)`
    const { length, sha256, last } = next
    const letter: Unreadable = { offset: this.#offset, length, lines: 1, reason, sha256 }
    const { publisher } = this.#services
    await publisher.untilTaken(this.path, 0, signal, (admitted) => this.#bury([letter], admitted))
    this.#passed(length, last)
    await this.save()
  }

  /** Makes a range safe; halves it where the pipeline will never take it, down to the line that is at fault. */
  async #pass(whole: Range, signal: AbortSignal, frozen?: Frozen): Promise<void> {
    let range = whole
    let attempt = frozen
    for (;;) {
      try {
        await this.#deliver(range, attempt, signal)
        break
      } catch (error) {
        if (!isVerdict(error)) throw error
        if (range.isSingle) {
          await this.#refused(range, error.message, signal)
          break
        }
        range = range.half()
        attempt = undefined
      }
    }
    this.#passed(range.bytes.length, range.bytes)
  }

  /** Published, then the unreadable lines buried; only then is the range passed. */
  async #deliver(range: Range, frozen: Frozen | undefined, signal: AbortSignal): Promise<void> {
    const { publisher, decoder, context } = this.#services
    let current = frozen
    let outcome: Outcome | undefined
    await publisher.untilTaken(this.path, range.bytes.length, signal, async (admitted) => {
      const receivedAtMs = current?.receivedAtMs ?? context.clock()
      const place = { tenant: admitted.tenant, fileId: this.id, path: this.path, receivedAtMs }
      const decoded = range.decode(decoder, place)
      const areStored = range.end <= (this.#stored.checkpoint.spansUntil ?? 0)
      if (outcome === undefined && decoded.bytes.length > 0 && !areStored) {
        current ??= await this.#freeze(range, await publisher.position(), receivedAtMs)
        const parcel = {
          bytes: decoded.bytes,
          digest: digestOf(context.id, this.id, range.offset, range.end),
          receivedAtMs,
          since: current.since,
          repeated: frozen !== undefined,
        }
        outcome = await publisher.publish(parcel, admitted, signal)
      }
      await this.#bury(range.linesOf(outcome?.rejected ?? [], decoder, place), admitted)
      if (decoded.events.length > 0) {
        // Frozen too: the key names the range, so a repeat must have the same one.
        current ??= await this.#freeze(range, undefined, receivedAtMs)
        const key = `${this.id}:${range.offset}-${range.end}`
        await publisher.append(decoded.events, key, range.bytes, admitted).catch(async (error: unknown) => {
          // The halves must not bring the spans again.
          if (isVerdict(error) && !areStored) await this.#write({ spansUntil: range.end })
          throw error
        })
      }
      await this.#bury(decoded.unreadable, admitted)
    })
  }

  async #freeze(range: Range, since: string | undefined, receivedAtMs: number): Promise<Frozen> {
    const frozen: Frozen = { to: range.end, receivedAtMs, ...(since !== undefined && { since }) }
    await this.#write({ frozen })
    return frozen
  }

  async #refused(range: Range, reason: string, signal: AbortSignal): Promise<void> {
    const { offset, bytes } = range
    const letter = { offset, length: bytes.length, lines: 1, reason, sha256: hash('sha256', bytes, 'hex') }
    await this.#services.publisher.untilTaken(this.path, 0, signal, (admitted) =>
      this.#bury([letter], admitted),
    )
  }

  #bury(unreadable: readonly Unreadable[], { tenant, project, principal }: Standing): Promise<void> {
    const receivedAtMs = this.#services.context.clock()
    const place = { tenant, project, principal, file: this.path, fileId: this.id, receivedAtMs }
    return this.#services.letters.put(place, unreadable)
  }

  #passed(length: number, last: Uint8Array): void {
    this.#offset += length
    this.#before = Buffer.concat([this.#before, last.subarray(-TAIL_BYTES)]).subarray(-TAIL_BYTES)
    this.#rest = undefined
  }

  get id(): string {
    return this.#stored.checkpoint.id
  }

  get path(): string {
    return this.#stored.checkpoint.path
  }

  /** Stores what is safe, if that is not stored yet. */
  async save(): Promise<void> {
    // At the same offset a frozen range is still to be repeated: the record stays.
    if (this.#offset !== this.#stored.checkpoint.offset) await this.#write({})
  }

  /** Where the file is now, and more of how it begins, once it has more. */
  async note(place: Pick<Checkpoint, 'path' | 'dev' | 'ino'>, nowMs: number): Promise<void> {
    const { checkpoint } = this.#stored
    const { fingerprint, path, dev, ino } = checkpoint
    const wanted = this.#services.config.fingerprint_size
    const grown =
      fingerprint.length < wanted ? await readAt(this.#source, 0, Math.min(wanted, this.#offset)) : undefined
    // Looked at after it was read: it may have been truncated in between.
    const longer = grown !== undefined && grown.length > fingerprint.length && (await this.isSame())
    if (
      !longer &&
      path === place.path &&
      dev === place.dev &&
      ino === place.ino &&
      nowMs - checkpoint.seenMs < SEEN_MS
    )
      return
    // While a range is frozen the record says so: at most its place changes.
    const frozen = this.#offset === checkpoint.offset ? checkpoint.frozen : undefined
    const { path: newPath, dev: newDev, ino: newIno } = place
    await this.#write({
      path: newPath,
      dev: newDev,
      ino: newIno,
      seenMs: nowMs,
      ...(longer && { fingerprint: fingerprintOf(grown) }),
      ...(frozen && { frozen }),
    })
  }

  async #write(changes: Partial<Checkpoint>): Promise<void> {
    const { frozen: _, ...kept } = this.#stored.checkpoint
    const tail = tailOf(this.#before, this.#before.length)
    const checkpoint: Checkpoint = { ...kept, offset: this.#offset, tail, ...changes }
    this.#stored = await this.#services.checkpoints.update(checkpoint, this.#stored.revision)
  }

  async close(): Promise<void> {
    await this.#source.close()
  }
}

const SEEN_MS = 3_600_000

function isJsonObject(line: Buffer): boolean {
  try {
    const value: unknown = JSON.parse(line.toString('utf8'))
    return typeof value === 'object' && value !== null
  } catch {
    return false
  }
}

/** True when the archive or file cannot be read on, and never will be. */
export function isDamage(error: unknown): boolean {
  return faultOf(error)?.verdict.do === 'reject'
}
