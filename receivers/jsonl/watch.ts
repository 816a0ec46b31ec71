import type { AgentRuns } from '../../pipeline/agent/agent-runs.ts'
import type { Entry } from '../../pipeline/admission.ts'
import type { Context } from '../../pipeline/factory.ts'
import { faultOf, messageOf } from '../../pipeline/fault.ts'
import { sleep } from '../../pipeline/sleep.ts'
import { Checkpoints } from './checkpoint.ts'
import { someAtOnce } from '../../pipeline/some-at-once.ts'
import type { JsonlConfig } from './config.ts'
import { Decoder } from './decode.ts'
import { removeRead } from './delete-read.ts'
import { Finder, type Refusal } from './find.ts'
import { LineLetters } from './letters.ts'
import { Publisher } from './publisher.ts'
import { BufferPool } from './range-reader.ts'
import { Roster, stampOf, type Known } from './roster.ts'
import { isDamage, type TailServices } from './tail.ts'

/** Files that are read at the same time. */
const WORKERS = 4
/** What one file may give before the others have their turn. */
const TURN_BYTES = 16 * 1024 * 1024
/** Positions of files that nobody has seen for this long are forgotten. */
const FORGET_MS = 7 * 86_400_000
/** A file that only lies there is noted as seen this often. */
const NOTE_MS = 86_400_000
const FORGET_EVERY_MS = 3_600_000
/** Looking through directories takes at most this share of the time. */
const LOOK_SHARE = 10

/** Reads the files from their checkpoints on, until it is told to end. */
export class Watch {
  readonly #config: JsonlConfig
  readonly #context: Context
  readonly #services: TailServices
  readonly #roster: Roster
  readonly #finder: Finder
  readonly #refused = new Map<string, Refusal>()
  #forgotMs = -Infinity
  #nextLookMs = -Infinity

  constructor(config: JsonlConfig, context: Context, next: Entry, runs: AgentRuns) {
    this.#config = config
    this.#context = context
    this.#services = {
      config,
      context,
      checkpoints: new Checkpoints(context.state, config.instance, context.id),
      publisher: new Publisher(config, context, next, runs),
      decoder: new Decoder(config),
      letters: new LineLetters(context, config.dead_letters.max_bytes),
      buffers: new BufferPool(config.initial_buffer_size),
    }
    this.#finder = new Finder({
      include: config.include,
      exclude: config.exclude,
      roots: config.allowed_roots,
      onRefused: (path, why, detail) => this.#onRefused(path, why, detail),
    })
    this.#roster = new Roster(this.#services, this.#finder, {
      onRotation: (kind) => this.#count('weir_jsonl_rotations', 1, { kind }),
      onDamaged: (path) => context.log.warn({ file: path }, 'the archive is damaged at its beginning'),
    })
  }

  /** Rejects with what no file explains, such as a state store that is away. */
  async run(signal: AbortSignal): Promise<void> {
    const { checkpoints } = this.#services
    for (const stored of await checkpoints.load()) this.#roster.add(stored)
    const firstRun = await checkpoints.isFirstRun()
    try {
      let first = true
      while (!signal.aborted) {
        await this.#look(first && firstRun)
        if (first && firstRun) await checkpoints.noteRun()
        first = false
        const more = await this.#readAll(signal)
        await this.#roster.makeRoom()
        await this.#forget()
        await this.#gauges()
        if (!more) await sleep(this.#config.poll_interval, signal)
      }
    } finally {
      await this.#closeAll()
      this.#clearGauges()
    }
  }

  async #look(skipOld: boolean): Promise<void> {
    const begunMs = performance.now()
    if (begunMs < this.#nextLookMs) return
    const found = await this.#finder.find()
    this.#nextLookMs = begunMs + LOOK_SHARE * (performance.now() - begunMs) * Number(found.length > MANY)
    await this.#roster.meet(found, skipOld, this.#context.clock())
  }

  /** One turn for every file that may have something; true when one of them had more than that. */
  async #readAll(signal: AbortSignal): Promise<boolean> {
    const { max_batches: batches, max_concurrent_files: files } = this.#config
    const all = [...this.#roster.all]
      .filter((known) => this.#mayHave(known))
      .sort((a, b) => a.usedMs - b.usedMs)
    const queue = batches === 0 ? all : all.slice(0, batches * files)
    let more = queue.length < all.length
    try {
      await someAtOnce(queue, WORKERS, async (known) => {
        if (!signal.aborted && (await this.#turn(known, signal))) more = true
      })
    } catch (error) {
      if (!signal.aborted) throw error
    }
    return more
  }

  #mayHave(known: Known): boolean {
    if (known.found === undefined) return known.tail !== undefined
    return known.finishedAt !== stampOf(known.found)
  }

  /** True when there is more. Throws what is not this file's trouble alone. */
  async #turn(known: Known, signal: AbortSignal): Promise<boolean> {
    try {
      const tail = await this.#roster.open(known)
      if (tail === undefined) return false
      const now = this.#context.clock()
      const final = known.goneMs !== undefined && now - known.usedMs >= this.#config.rotate_wait
      const stamp = known.found && stampOf(known.found)
      const before = tail.offset
      const turn = await tail.turn(TURN_BYTES, final, signal)
      if (tail.offset > before) known.usedMs = now
      if (turn === 'replaced') await this.#roster.replaced(known)
      else if (turn === 'end') await this.#atEnd(known, stamp, final, now)
      return turn === 'more'
    } catch (error) {
      await this.#failed(known, error)
      return false
    }
  }

  async #atEnd(known: Known, stamp: string | undefined, final: boolean, now: number): Promise<void> {
    const { tail, found } = known
    if (tail === undefined) return
    if (found !== undefined) await tail.note(found, now)
    await tail.save()
    if (final) await this.#roster.close(known)
    // A rest without newline waits for its time.
    else if (!tail.hasRest) known.finishedAt = stamp
    if (!this.#config.delete_after_read || found === undefined || !tail.isAtEnd) return
    if (await removeRead(found, tail, this.#finder)) await this.#roster.close(known)
  }

  /** What only this file suffers from is logged, and it is tried again later; anything else goes up. */
  async #failed(known: Known, error: unknown): Promise<void> {
    const code = faultOf(error)?.code
    if (code !== undefined && !isDamage(error)) throw error
    const file = known.stored.checkpoint.path
    if (isDamage(error)) {
      if (known.found !== undefined) known.finishedAt = stampOf(known.found)
      if (known.tail !== undefined) await known.tail.buryDamage(messageOf(error))
    }
    this.#context.log.warn({ file, reason: messageOf(error) }, 'the file cannot be read on')
    await this.#roster.close(known)
  }

  async #forget(): Promise<void> {
    const now = this.#context.clock()
    if (now - this.#forgotMs < FORGET_EVERY_MS) return
    this.#forgotMs = now
    for (const known of this.#roster.all) {
      const { seenMs } = (known.tail?.stored ?? known.stored).checkpoint
      if (known.found !== undefined && now - seenMs > NOTE_MS) {
        await (await this.#roster.open(known))?.note(known.found, now)
      }
      if (known.found !== undefined || known.tail !== undefined || now - seenMs < FORGET_MS) continue
      await this.#services.checkpoints.remove(known.stored)
      this.#roster.forget(known)
    }
  }

  #onRefused(path: string, why: Refusal, detail: string): void {
    if (this.#refused.get(path) === why) return
    if (this.#refused.size >= MANY) this.#refused.clear()
    this.#refused.set(path, why)
    this.#count('weir_jsonl_refused_files', 1, { reason: why })
    this.#context.log.warn({ file: path, reason: detail }, 'the file is not read')
  }

  #count(name: string, value: number, labels: Readonly<Record<string, string>>): void {
    this.#context.meter.counter(name).add(value, { receiver: this.#context.id, ...labels })
  }

  async #gauges(): Promise<void> {
    const { meter, id } = this.#context
    let open = 0
    let backlog = 0
    for (const { tail } of this.#roster.all) {
      if (tail === undefined) continue
      open++
      backlog += await tail.backlog()
    }
    meter.gauge('weir_jsonl_open_files').set(open, { receiver: id })
    meter.gauge('weir_jsonl_backlog_bytes').set(backlog, { receiver: id })
  }

  #clearGauges(): void {
    const { meter, id } = this.#context
    meter.gauge('weir_jsonl_open_files').remove({ receiver: id })
    meter.gauge('weir_jsonl_backlog_bytes').remove({ receiver: id })
  }

  async #closeAll(): Promise<void> {
    for (const known of this.#roster.all) {
      // The next start repeats what could not be stored now.
      await this.#roster.close(known).catch(() => undefined)
    }
  }
}

/** From this many files on, looking for them is rationed. */
const MANY = 256
