import { reject } from '../fault.ts'
import { stateKey, type StateStore } from '../state/state.ts'
import type { Meter } from '../telemetry/meter.ts'

/** Where something stands that could not be read. Before the sanitizer a dead letter keeps this instead of content. */
export interface Origin {
  readonly file: string
  /** Names the file also after it was renamed. */
  readonly fileId: string
  /** Of the (decompressed) bytes. */
  readonly offset: number
  readonly length: number
  /** Of those bytes, hex: proves that what is read again is what was meant. */
  readonly sha256: string
}

/**
 * What is kept of spans that a destination will never take: their sanitised bytes as an OTLP request, and why. Of what
 * never became a span: where it came from.
 */
export interface DeadLetter {
  /** `<cursor>@<seq>.<row>`, or `<component>@<file id>.<offset>`: a repeated range writes the same letter again. */
  readonly id: string
  /** '' before the WAL. */
  readonly cursor: string
  readonly origin?: Origin
  /** Who refused: an exporter's id, `processors`, or the connector for what cannot be read. */
  readonly component: string
  readonly reason: string
  readonly tenant: string
  readonly project: string
  readonly principal: string
  readonly source: string
  readonly receivedAtMs: number
  readonly seq: number
  /** Message-wide row of its first span. */
  readonly row: number
  readonly spans: number
  /** Deliveries that the spans were part of. */
  readonly attempts: number
  readonly firstMs: number
  readonly lastMs: number
  /** `otlp`: an ExportTraceServiceRequest; `raw`: bytes that are none; `none`: no content was kept, see `origin`. */
  readonly format: 'otlp' | 'raw' | 'none'
  readonly bytes: number
}

export type NewDeadLetter = Omit<DeadLetter, 'id' | 'firstMs' | 'lastMs' | 'bytes'> & {
  readonly body: Uint8Array
}

interface StoredLetter extends DeadLetter {
  readonly v: 1
  readonly chunks: number
}

export interface DeadLetterOptions {
  readonly connector: string
  readonly state: StateStore
  readonly meter: Meter
  readonly clock: () => number
  readonly maxBytes: number
  /** Since the letter was written last; 0 or absent: no limit. */
  readonly maxAgeMs?: number
}

/** What is held. */
export interface LetterFigures {
  readonly bytes: number
  readonly letters: number
  /** When the oldest was written first, Unix ms; undefined without any. */
  readonly oldestMs: number | undefined
}

/** Values of the state stores are bounded (embedded 512 KiB, JetStream the server's `max_payload`). */
const CHUNK_BYTES = 256 * 1024
const PARALLEL = 32
const MAX_REASON = 2000
/** What makes room makes some more, since finding the oldest reads all. */
const MAKE_ROOM_TO = 0.9

/** Dead letters in the state store, bounded by bytes: the oldest leave first, counted. */
export class DeadLetters {
  readonly #options: DeadLetterOptions
  /** Bytes held as far as this process knows; undefined until counted. */
  #held: number | undefined
  #enforcing: Promise<void> | undefined

  constructor(options: DeadLetterOptions) {
    this.#options = options
  }

  /** Resolves once all are durable. */
  async put(letters: readonly NewDeadLetter[]): Promise<void> {
    for (let at = 0; at < letters.length; at += PARALLEL) {
      await Promise.all(letters.slice(at, at + PARALLEL).map((letter) => this.#putOne(letter)))
      if (this.#held === undefined || this.#held > this.#options.maxBytes) await this.enforce()
    }
  }

  async #putOne({ body, ...letter }: NewDeadLetter): Promise<void> {
    const { state, connector, clock, meter } = this.#options
    const id = idOf(letter)
    const key = infoKey(connector, id)
    const before = parse((await state.get(key))?.value)
    const now = clock()
    const chunks = Math.ceil(body.length / CHUNK_BYTES)
    const stored: StoredLetter = {
      v: 1,
      ...letter,
      reason: letter.reason.slice(0, MAX_REASON),
      id,
      firstMs: before?.firstMs ?? now,
      lastMs: now,
      bytes: body.length,
      chunks,
    }
    // The body first: a letter that is listed can be read.
    for (let chunk = 0; chunk < chunks; chunk++) {
      const part = body.subarray(chunk * CHUNK_BYTES, (chunk + 1) * CHUNK_BYTES)
      await state.put(bodyKey(connector, id, chunk), part)
    }
    const info = Buffer.from(JSON.stringify(stored))
    await state.put(key, info)
    if (before !== undefined) return
    if (this.#held !== undefined) this.#held += body.length + info.length
    meter.counter('weir_dead_letter_spans').add(letter.spans, { component: letter.component })
  }

  /** All letters, or those of one cursor, oldest first. */
  async list(cursor?: string): Promise<DeadLetter[]> {
    return (await this.#stored())
      .map(({ letter }) => publicOf(letter))
      .filter((letter) => cursor === undefined || letter.cursor === cursor)
  }

  async get(id: string): Promise<{ readonly letter: DeadLetter; readonly body: Uint8Array }> {
    const { state, connector } = this.#options
    const stored = parse((await state.get(infoKey(connector, id)))?.value)
    if (stored === undefined) throw reject('NOT_FOUND', `there is no dead letter ${id}`)
    const parts: Uint8Array[] = []
    for (let chunk = 0; chunk < stored.chunks; chunk++) {
      const entry = await state.get(bodyKey(connector, id, chunk))
      if (entry === undefined) throw reject('NOT_FOUND', `dead letter ${id} was removed while it was read`)
      parts.push(entry.value)
    }
    return { letter: publicOf(stored), body: Buffer.concat(parts) }
  }

  /** False when it was gone already. */
  async remove(id: string): Promise<boolean> {
    const { state, connector } = this.#options
    const stored = parse((await state.get(infoKey(connector, id)))?.value)
    if (stored === undefined) return false
    // The listing first: no letter is listed without its body.
    const removed = await state.delete(infoKey(connector, id))
    for (let chunk = 0; chunk < stored.chunks; chunk++) await state.delete(bodyKey(connector, id, chunk))
    return removed
  }

  async figures(): Promise<LetterFigures> {
    const stored = await this.#stored()
    const bytes = stored.reduce((sum, one) => sum + one.letter.bytes + one.infoBytes, 0)
    return { bytes, letters: stored.length, oldestMs: stored[0]?.letter.firstMs }
  }

  /** Deletes what is past its age, and the oldest until the rest is within the bound. */
  enforce(): Promise<void> {
    this.#enforcing ??= this.#enforce().finally(() => (this.#enforcing = undefined))
    return this.#enforcing
  }

  async #enforce(): Promise<void> {
    const { maxBytes, maxAgeMs = 0, clock } = this.#options
    const expired = maxAgeMs === 0 ? -Infinity : clock() - maxAgeMs
    const stored = await this.#stored()
    let held = stored.reduce((sum, one) => sum + one.letter.bytes + one.infoBytes, 0)
    const target = held > maxBytes ? maxBytes * MAKE_ROOM_TO : maxBytes
    for (const { letter, infoBytes } of stored) {
      const isOld = letter.lastMs < expired
      if (!isOld && held <= target) continue
      await this.#drop(letter, isOld ? 'dead_letters_expired' : 'dead_letters_full')
      held -= letter.bytes + infoBytes
    }
    this.#held = held
  }

  async #drop({ id, spans }: StoredLetter, reason: string): Promise<void> {
    const { meter, connector } = this.#options
    if (!(await this.remove(id))) return
    meter.counter('weir_dropped_spans').add(spans, { reason, component: connector })
  }

  async #stored(): Promise<{ letter: StoredLetter; infoBytes: number }[]> {
    const entries = await this.#options.state.list(stateKey('dead', this.#options.connector, 'info'))
    const found: { letter: StoredLetter; infoBytes: number }[] = []
    for (const { value } of entries) {
      const letter = parse(value)
      if (letter !== undefined) found.push({ letter, infoBytes: value.length })
    }
    return found.sort((a, b) => a.letter.firstMs - b.letter.firstMs || a.letter.seq - b.letter.seq)
  }
}

function idOf({ cursor, component, origin, seq, row }: Omit<NewDeadLetter, 'body'>): string {
  if (origin !== undefined) return `${component}@${origin.fileId}.${origin.offset}`
  return `${cursor}@${seq}.${row}`
}

function infoKey(connector: string, id: string) {
  return stateKey('dead', connector, 'info', id)
}

function bodyKey(connector: string, id: string, chunk: number) {
  return stateKey('dead', connector, 'body', id, String(chunk))
}

function parse(value: Uint8Array | undefined): StoredLetter | undefined {
  if (value === undefined) return undefined
  const letter = JSON.parse(Buffer.from(value).toString()) as StoredLetter
  if (letter.v === 1) return letter
  throw reject('STATE_VERSION', `a dead letter has format ${String(letter.v)}; this weir reads up to 1`)
}

function publicOf(stored: StoredLetter): DeadLetter {
  const { v: _v, chunks: _chunks, ...letter } = stored
  return letter
}
