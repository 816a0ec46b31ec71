import { messageOf, retry } from '../../pipeline/fault.ts'
import { sleep } from '../../pipeline/sleep.ts'
import type { StateStore } from '../../pipeline/state/state.ts'
import type { Log } from '../../pipeline/telemetry/log.ts'
import { cursorKey, cursorPrefix, decodeCursor, type CursorRecord } from '../../pipeline/wal/cursor-record.ts'
import { BLOCK, type Decision } from './decision.ts'
import { DecisionTable } from './decision-table.ts'
import { blockFor, readBlock, scoutData } from './decision-log.ts'
import { TraceKeys } from './trace-key.ts'

export interface ViewOptions {
  readonly connector: string
  /** Of the scout. */
  readonly cursor: string
  readonly state: StateStore
  readonly log: Log
  /** Blocks before the one that a message's decisions end in which late spans are judged by. */
  readonly remembered: number
}

const AGAIN_MS = 1000
/** Blocks kept beyond what is asked for: one range is prepared while the one before may be prepared again. */
const SLACK = 8

/** What the scout's decisions say of the messages at a cursor. Answers depend on the message alone, whatever was read before. */
export class DecisionView {
  readonly #options: ViewOptions
  readonly #ending = new AbortController()
  #watching: Promise<void> | undefined
  #record: CursorRecord | undefined
  #waiting: (() => void)[] = []
  #turn: Promise<unknown> = Promise.resolve()
  #table = new DecisionTable(0)
  #epoch = ''
  #keys = new TraceKeys('')
  /** Blocks before this one are in the table, the newest perhaps in part; each with its `from`. */
  #next = 0
  readonly #froms = new Map<number, number>()

  constructor(options: ViewOptions) {
    this.#options = options
  }

  start(): void {
    this.#watching ??= this.#watch()
  }

  async stop(): Promise<void> {
    this.#ending.abort()
    this.#wake()
    await this.#watching
  }

  /** Waits until every trace with a span in message `seq` is judged, and returns how to ask what was decided. */
  async at(seq: number): Promise<Judged> {
    while ((this.#record?.position ?? 0) <= seq) {
      if (this.#ending.signal.aborted) throw retry('SHUTTING_DOWN', 'sampling: the daemon is stopping')
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    }
    const mine = this.#turn.then(() => this.#load(seq))
    this.#turn = mine.catch(() => undefined)
    return mine
  }

  async #load(seq: number): Promise<Judged> {
    const record = this.#record!
    if (record.epoch !== this.#epoch) await this.#begin(record, seq)
    const last = Math.ceil((scoutData(record)?.count ?? 0) / BLOCK) - 1
    for (;;) {
      const newest = this.#next - 1
      // What was read of it may have been less than there is now.
      if (this.#froms.has(newest)) await this.#read(record, newest)
      // One more than the message's own says where that one ends.
      if (newest >= last || (this.#froms.get(newest) ?? -1) >= seq) break
      await this.#read(record, this.#next++)
    }
    let block = Math.max(0, this.#next - 1)
    while (block > 0 && (this.#froms.get(block) ?? -1) >= seq) block--
    const { firstBlock = 0 } = scoutData(record) ?? {}
    const from = (block - this.#options.remembered) * BLOCK
    // After a lost lease a cursor may go back to what is not in the table any more.
    const isGone = !this.#froms.has(block) || this.#table.start > Math.max(from, firstBlock * BLOCK)
    if (this.#next > 0 && block >= firstBlock && isGone) {
      await this.#begin(record, seq)
      return this.#load(seq)
    }
    const [table, keys] = [this.#table, this.#keys]
    return {
      of: (tenant, traceId) => {
        const key = keys.of(tenant, traceId)
        return key === undefined ? WHOLE : table.firstSince(key, from)
      },
    }
  }

  async #begin(record: CursorRecord, seq: number): Promise<void> {
    const { state, connector, remembered } = this.#options
    const block = await blockFor(state, connector, record, seq)
    const first = Math.max(scoutData(record)?.firstBlock ?? 0, block - remembered)
    this.#table = new DecisionTable((remembered + SLACK) * BLOCK, first * BLOCK)
    this.#keys = new TraceKeys(record.epoch)
    this.#next = first
    this.#froms.clear()
    this.#epoch = record.epoch
  }

  /** Adds what of the block counts and is not in the table yet. */
  async #read(record: CursorRecord, number: number): Promise<void> {
    const { state, connector } = this.#options
    const table = this.#table
    const count = Math.min(BLOCK, (scoutData(record)?.count ?? 0) - number * BLOCK)
    const known = table.end - number * BLOCK
    if (known >= count && this.#froms.has(number)) return
    const found = await readBlock(state, connector, record, number)
    if (found === undefined || found.block.decided.length < count) {
      throw retry('STATE_UNAVAILABLE', `sampling: block ${number} of the decisions is missing`)
    }
    this.#froms.set(number, found.block.from)
    this.#froms.delete(number - this.#options.remembered - SLACK)
    for (const { key, decision } of found.block.decided.slice(known, count)) table.add(key, decision)
  }

  async #watch(): Promise<void> {
    const { state, connector, cursor, log } = this.#options
    const { signal } = this.#ending
    const key = cursorKey(connector, cursor)
    while (!signal.aborted) {
      try {
        const changes = state.watch(cursorPrefix(connector), signal)
        const entry = await state.get(key)
        if (entry !== undefined) this.#saw(decodeCursor(key, entry.value))
        for await (const change of changes) {
          if (change.key === key && change.value !== undefined) this.#saw(decodeCursor(key, change.value))
        }
      } catch (error) {
        log.debug({ error: messageOf(error) }, 'The decisions of the sampler could not be watched')
      }
      await sleep(AGAIN_MS, signal)
    }
  }

  /** Changes that were under way may be older than what was read meanwhile. */
  #saw(record: CursorRecord): void {
    const known = this.#record
    if (known?.epoch === record.epoch && record.position < known.position) return
    this.#record = record
    this.#wake()
  }

  #wake(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const resolve of waiting) resolve()
  }
}

export interface Judged {
  /** Undefined: the decision is forgotten, or was made before this sampler was there. */
  of(tenant: string, traceId: Uint8Array): Decision | undefined
}

/** Spans of no trace are nobody's to leave out. */
const WHOLE: Decision = { weight: 1, share: 1, isConsistent: true }
