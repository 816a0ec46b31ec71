import type { Batch } from '../../../pipeline/batch/batch.ts'
import { digestOf } from '../../../pipeline/digest.ts'
import { faultOf, messageOf, retry } from '../../../pipeline/fault.ts'
import type { ReplayCount, ReplaySink } from '../../../pipeline/replay.ts'
import type { Connection } from '../connection.ts'
import { insertFault } from '../faults.ts'
import { putBackAbandoned, recover, UNFENCED } from '../redact/abandoned.ts'
import { prefixOf, Replacement } from '../redact/replacement.ts'
import type { Target } from '../target.ts'
import { cleanUp, IdTable, removeUsed } from './id-table.ts'
import { SpanIds, without } from './span-ids.ts'

export interface ReplayPlace {
  readonly connection: Connection
  readonly target: Target
  /** Other processes may work on it. */
  readonly isShared: boolean
  /** Unix ms: what started before is not stored any more. */
  readonly oldestMs: number
  /** Inserts the live spans under tokens that begin so, in turn with the other inserts. */
  readonly insert: (batches: readonly Batch[], token: string, signal: AbortSignal) => Promise<void>
  /** Once spans are deleted nothing else keeps from putting them back: not a cancel, nor a deadline. */
  readonly ending: AbortSignal
  /** Alone with the table, until the work has ended. */
  inTurn<T>(signal: AbortSignal, work: (turn: AbortSignal) => Promise<T>): Promise<T>
}

/** Each round that does not help is one kill in the very moment between token and rename (see `Inserts`). */
const MAX_ROUNDS = 4

/**
 * Spans that the table may hold already, looked up by their `EventId`s. An insert is proved by the same look-up, for
 * spans from an archive have no place in the WAL. What was inserted and not proved, after a kill or a lost answer, is
 * inserted again under the same token; only what is then still missing goes in under another.
 */
export class ClickHouseReplay implements ReplaySink {
  readonly #open: () => ReplayPlace
  /** Nothing that an earlier process began can be under way. */
  #isClean = false
  /** Tables of ids that were made here. */
  readonly #tables = new Set<string>()

  /** `open` throws while the exporter is not started. */
  constructor(open: () => ReplayPlace) {
    this.#open = open
  }

  count(batches: readonly Batch[], signal: AbortSignal): Promise<ReplayCount> {
    return this.#with(batches, signal, (table) => table.count(signal))
  }

  add(batches: readonly Batch[], token: string, given: AbortSignal): Promise<ReplayCount> {
    return this.#inTurn(batches, given, async (table, ids, fresh, signal) => {
      const present = await table.count(signal)
      if (present < ids.size) await this.#insert(fresh, table, ids, token, signal)
      return present
    })
  }

  async replace(batches: readonly Batch[], token: string, given: AbortSignal): Promise<ReplayCount> {
    // The same for who repeats it: on a server nobody else puts it back within an hour.
    const name = `${prefixOf(this.#open().target)}${digestOf('replay', token).toString('hex')}`
    const begun = (): Promise<void> => recover(this.#open(), name, UNFENCED)
    return await this.#inTurn(
      batches,
      given,
      async (table, ids, fresh, signal) => {
        const present = await table.count(signal)
        if (present === 0) await this.#insert(fresh, table, ids, token, signal)
        else await this.#exchange(new Replacement(this.#open(), name), table, fresh, signal)
        return present
      },
      begun,
    )
  }

  /** Nothing but a kill keeps from putting the new rows in, once the old ones are being deleted. */
  async #exchange(
    replacement: Replacement,
    table: IdTable,
    fresh: readonly Batch[],
    signal: AbortSignal,
  ): Promise<void> {
    const { ending } = this.#open()
    try {
      await replacement.add(without(fresh, new Set()), signal)
      await replacement.completeWhole(table.where)
      signal.throwIfAborted()
    } catch (error) {
      await replacement.remove().catch(() => undefined)
      throw insertFault(error)
    }
    if (!(await replacement.begin()))
      throw retry('EXPORT_UNAVAILABLE', 'clickhouse: replay: new rows are gone')
    await table.deleteSpans(ending)
    await replacement.putIn()
    await replacement.remove()
  }

  async settle(signal: AbortSignal): Promise<void> {
    await cleanUp(this.#open(), this.#tables, signal)
    this.#tables.clear()
  }

  async #insert(
    batches: readonly Batch[],
    table: IdTable,
    ids: SpanIds,
    token: string,
    signal: AbortSignal,
  ): Promise<void> {
    for (let round = 0; round <= MAX_ROUNDS; round++) {
      const held = await table.held(signal)
      const missing = held.size === ids.size ? [] : without(batches, held)
      if (missing.length === 0) return
      await this.#open().insert(missing, round === 0 ? token : `${token}/${round}`, signal)
      if ((await table.count(signal)) === ids.size) return
    }
    throw retry('EXPORT_UNAVAILABLE', 'clickhouse: replay: rows that were inserted did not appear')
  }

  /** Nobody else is at the table, and what somebody has taken out of it for a moment is not missing. */
  #inTurn(
    batches: readonly Batch[],
    signal: AbortSignal,
    work: (table: IdTable, ids: SpanIds, fresh: readonly Batch[], turn: AbortSignal) => Promise<number>,
    begun?: () => Promise<void>,
  ): Promise<ReplayCount> {
    return this.#open().inTurn(signal, (turn) =>
      this.#with(
        batches,
        turn,
        async (table, ids, fresh) => {
          if (await table.areMoving(turn)) {
            throw retry('EXPORT_UNAVAILABLE', 'clickhouse: replay: rows are out of the table, to be put back')
          }
          return await work(table, ids, fresh, turn)
        },
        async () => {
          await begun?.()
          await putBackAbandoned(this.#open(), UNFENCED)
        },
      ),
    )
  }

  /** `work` tells how many of the ids the table held. */
  async #with(
    batches: readonly Batch[],
    signal: AbortSignal,
    work: (table: IdTable, ids: SpanIds, fresh: readonly Batch[]) => Promise<number>,
    before?: () => Promise<void>,
  ): Promise<ReplayCount> {
    try {
      const place = this.#open()
      await before?.()
      const fresh = batches.map((batch) => notBefore(batch, place.oldestMs))
      const expired = liveIn(batches) - liveIn(fresh)
      const ids = new SpanIds(fresh)
      if (ids.size === 0) return { spans: 0, present: 0, expired }
      if (!this.#isClean) await cleanUp(place, this.#tables, signal)
      this.#isClean = false
      const table = await IdTable.make(place, ids, signal)
      this.#tables.add(table.name)
      const present = await work(table, ids, fresh)
      await removeUsed(place, this.#tables, signal)
      this.#isClean = true
      return { spans: ids.size, present, expired }
    } catch (error) {
      throw (
        faultOf(error) ??
        retry('EXPORT_UNAVAILABLE', `clickhouse: replay: ${messageOf(error)}`, undefined, { cause: error })
      )
    }
  }
}

/** The batch itself, or a copy without what started earlier. */
function notBefore(batch: Batch, oldestMs: number): Batch {
  if (oldestMs <= 0) return batch
  let copy: Batch | undefined
  for (let row = 0; row < batch.rows; row++) {
    if (!batch.isLive(row) || batch.startMs(row) >= oldestMs) continue
    copy ??= batch.fork()
    copy.drop(row, 'expired')
  }
  return copy ?? batch
}

function liveIn(batches: readonly Batch[]): number {
  return batches.reduce((sum, batch) => sum + batch.live, 0)
}
