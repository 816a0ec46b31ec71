import { createHash } from 'node:crypto'
import { isWhole, type Lookback } from '../admission.ts'
import type { Batch } from '../batch/batch.ts'
import { decodeBatch } from '../batch/otlp-batch.ts'
import type { Consumer } from '../consumer.ts'
import { faultOf, messageOf, reject } from '../fault.ts'
import { orGivenUp } from '../given-up.ts'
import { stateKey, type StateKey, type StateStore } from '../state/state.ts'
import type { CursorSightings } from './cursor-seen.ts'
import type { DeadLetter, DeadLetters } from './dead-letter.ts'

/** Which dead letters; what is left out does not matter. */
export interface LetterFilter {
  readonly ids?: readonly string[] | undefined
  readonly tenant?: string | undefined
  /** Id of the exporter, `processors`, or whoever refused. */
  readonly component?: string | undefined
  readonly cursor?: string | undefined
  /** Part of the reason, whatever its case. */
  readonly reason?: string | undefined
  /** Written first at or after, and before; Unix ms. */
  readonly sinceMs?: number | undefined
  readonly untilMs?: number | undefined
}

export interface LetterFailure {
  readonly id: string
  readonly reason: string
}

export interface LetterResult {
  readonly letters: number
  readonly spans: number
  readonly failed: readonly LetterFailure[]
  /** Letters that the filter fits and the limit left out. */
  readonly left: number
}

export interface DeskOptions {
  readonly connector: string
  readonly letters: DeadLetters
  readonly state: StateStore
  /** What sends letters into the log again; absent where they never were in one. */
  readonly log?: {
    readonly intake: Consumer
    readonly lookback: Lookback
    readonly sightings: CursorSightings
  }
}

/** What operators do with the dead letters of one connector. */
export class LetterDesk {
  readonly #options: DeskOptions

  constructor(options: DeskOptions) {
    this.#options = options
  }

  get connector(): string {
    return this.#options.connector
  }

  /** Oldest first. */
  async list(filter: LetterFilter): Promise<DeadLetter[]> {
    return (await this.#options.letters.list()).filter((letter) => fits(letter, filter))
  }

  /** NOT_FOUND also for one of another tenant. */
  async get(
    id: string,
    tenant?: string,
  ): Promise<{ readonly letter: DeadLetter; readonly body: Uint8Array }> {
    const found = await this.#options.letters.get(id)
    if (fits(found.letter, { tenant })) return found
    throw reject('NOT_FOUND', `there is no dead letter ${id}`)
  }

  async purge(filter: LetterFilter, limit: number): Promise<LetterResult> {
    return this.#each(filter, limit, async ({ id }) => {
      await this.#options.letters.remove(id)
    })
  }

  /**
   * Sends letters through the log again, to the cursor that refused them and to no other. Each once, however often this is
   * called and wherever it is interrupted: what the log has is found by its digest.
   */
  async retry(filter: LetterFilter, limit: number, signal: AbortSignal): Promise<LetterResult> {
    return this.#each(filter, limit, (letter) => this.#retryOne(letter, signal))
  }

  async #each(
    filter: LetterFilter,
    limit: number,
    work: (letter: DeadLetter) => Promise<void>,
  ): Promise<LetterResult> {
    const fitting = await this.list(filter)
    const failed: LetterFailure[] = []
    let spans = 0
    for (const letter of fitting.slice(0, limit)) {
      try {
        await work(letter)
        spans += letter.spans
      } catch (error) {
        if (faultOf(error)?.verdict.do !== 'reject') throw error
        failed.push({ id: letter.id, reason: messageOf(error) })
      }
    }
    const tried = Math.min(limit, fitting.length)
    return { letters: tried - failed.length, spans, failed, left: fitting.length - tried }
  }

  async #retryOne(letter: DeadLetter, signal: AbortSignal): Promise<void> {
    const { log, letters, state } = this.#options
    if (log === undefined || letter.format !== 'otlp') throw reject('CONFLICT', whyNot(letter))
    if (!log.sightings.isWanted(await log.sightings.lastSeen(letter.cursor))) {
      throw reject('CONFLICT', `no daemon has an exporter for cursor ${letter.cursor} any more`)
    }
    const { body } = await letters.get(letter.id)
    const batch = batchOf(letter, body)
    const key = noteKey(this.#options.connector, letter.id)
    const position = await log.lookback.position()
    // Who finds a note was interrupted, or is not alone: then the log tells whether the letter is in it.
    const isFirst = (await state.create(key, Buffer.from(position))) !== undefined
    const since = isFirst ? position : Buffer.from((await state.get(key))?.value ?? []).toString()
    const { tenant, digest } = batch.meta
    if (isFirst || !isWhole(await log.lookback.stored(tenant, digest, since, signal))) {
      await orGivenUp(signal, log.intake.consume(batch, signal))
    }
    await letters.remove(letter.id)
    await state.delete(key)
  }
}

function fits(letter: DeadLetter, filter: LetterFilter): boolean {
  const { ids, tenant, component, cursor, reason, sinceMs = -Infinity, untilMs = Infinity } = filter
  return (
    (ids === undefined || ids.includes(letter.id)) &&
    (tenant === undefined || letter.tenant === tenant) &&
    (component === undefined || letter.component === component) &&
    (cursor === undefined || letter.cursor === cursor) &&
    (reason === undefined || letter.reason.toLowerCase().includes(reason.toLowerCase())) &&
    letter.firstMs >= sinceMs &&
    letter.firstMs < untilMs
  )
}

function whyNot({ format, origin }: DeadLetter): string {
  if (format === 'raw') return 'its bytes are no OTLP: nothing can deliver them; show it, then purge it'
  const where =
    origin === undefined ? '' : `; mend ${origin.file} at byte ${origin.offset} and have it read again`
  return `no content was kept of it${where}`
}

/** The same letter, the same digest: the log drops the second of two. */
function batchOf({ id, cursor, ...letter }: DeadLetter, body: Uint8Array): Batch {
  const digest = createHash('sha256')
    .update(JSON.stringify(['dead letter', id]))
    .digest()
  const { tenant, project, principal, source, receivedAtMs } = letter
  return decodeBatch(body, {
    signal: 'traces',
    tenant,
    project,
    principal,
    source,
    receivedAtMs,
    digest: digest.subarray(0, 16),
    only: cursor,
  })
}

function noteKey(connector: string, id: string): StateKey {
  return stateKey('dead', connector, 'retry', id)
}
