import { retry } from '../../pipeline/fault.ts'
import { FencedWriter } from '../../pipeline/state/fenced-writer.ts'
import type { FollowerTerm } from '../../pipeline/follower.ts'
import { stateKey, type StateKey, type StateStore } from '../../pipeline/state/state.ts'
import type { CursorRecord } from '../../pipeline/wal/cursor-record.ts'
import { BLOCK, decodeBlock, encodeBlock, type Block, type Decided, type Decision } from './decision.ts'
import { DecisionTable } from './decision-table.ts'

/** What the scout keeps with its position. */
export interface ScoutData {
  readonly v: 1
  /** Largest time that the log had stamped before `position`, Unix ms. */
  readonly walMs: number
  /** Decisions that count: what stands behind them in the blocks does not. */
  readonly count: number
  /** The oldest block that is still kept. */
  readonly firstBlock: number
  /** Of the policies' limiters, in order: tokens and WAL time. */
  readonly limiters: readonly (readonly [number, number])[]
}

export function scoutData(record: CursorRecord): ScoutData | undefined {
  return record.data as ScoutData | undefined
}

/** Names the blocks of a sampler: those of a log that began anew are others. */
export function blockKey(connector: string, record: CursorRecord, block: number): StateKey {
  return stateKey('sampling', connector, record.cursor, record.epoch, String(block))
}

export async function readBlock(
  state: StateStore,
  connector: string,
  record: CursorRecord,
  block: number,
): Promise<{ readonly block: Block; readonly revision: number } | undefined> {
  const entry = await state.get(blockKey(connector, record, block))
  const decoded = entry && decodeBlock(entry.value)
  return entry && decoded && { block: decoded, revision: entry.revision }
}

/** The last block that was begun before all traces up to `seq` were judged: where the decisions on `seq` end. */
export async function blockFor(
  state: StateStore,
  connector: string,
  record: CursorRecord,
  seq: number,
): Promise<number> {
  const { count = 0, firstBlock = 0 } = scoutData(record) ?? {}
  let low = firstBlock
  let high = Math.max(firstBlock, Math.ceil(count / BLOCK) - 1)
  while (low < high) {
    const middle = Math.ceil((low + high) / 2)
    const found = await readBlock(state, connector, record, middle)
    if (found !== undefined && found.block.from < seq) low = middle
    else high = middle - 1
  }
  return low
}

/** The scout's hand on the decisions: what it has decided, and what of that is in the state store. */
export class DecisionLog {
  readonly #term: FollowerTerm
  readonly #connector: string
  readonly table: DecisionTable
  #firstBlock: number
  /** Blocks before `#firstBlock` and from here on may be deleted, once the record says that they are gone. */
  #keptFrom: number
  /** Of the newest block: what of it counts. */
  #open: { readonly from: number; readonly decided: Decided[] }
  #openBlock: number
  #fresh: Decided[] = []
  readonly #writer: FencedWriter

  private constructor(
    term: FollowerTerm,
    connector: string,
    table: DecisionTable,
    open: { block: number; from: number; decided: Decided[] },
  ) {
    this.#term = term
    this.#writer = new FencedWriter(term.state, () => term.save({}))
    this.#connector = connector
    this.table = table
    this.#firstBlock = scoutData(term.record())?.firstBlock ?? 0
    this.#keptFrom = this.#firstBlock
    this.#open = { from: open.from, decided: open.decided }
    this.#openBlock = open.block
  }

  /** With the newest `most` decisions in memory. */
  static async open(term: FollowerTerm, connector: string, most: number): Promise<DecisionLog> {
    const record = term.record()
    const { count = 0, firstBlock = 0 } = scoutData(record) ?? {}
    const openBlock = Math.floor(count / BLOCK)
    const first = Math.max(firstBlock, openBlock - Math.floor(most / BLOCK))
    const table = new DecisionTable(most, first * BLOCK)
    let open = { block: openBlock, from: record.position - 1, decided: [] as Decided[] }
    for (let block = first; block * BLOCK < count; block++) {
      const found = await readBlock(term.state, connector, record, block)
      const decided = (found?.block.decided ?? []).slice(0, count - block * BLOCK)
      if (found === undefined || decided.length < Math.min(BLOCK, count - block * BLOCK)) {
        throw retry(
          'STATE_UNAVAILABLE',
          `sampling: block ${block} of the decisions of ${record.cursor} is missing`,
        )
      }
      for (const { key, decision } of decided) table.add(key, decision)
      if (block === openBlock) open = { block, from: found.block.from, decided }
    }
    return new DecisionLog(term, connector, table, open)
  }

  /** Decisions that are not saved yet. */
  get fresh(): number {
    return this.#fresh.length
  }

  add(key: string, decision: Decision): void {
    this.table.add(key, decision)
    this.#fresh.push({ key, decision })
  }

  /**
   * Makes all decisions count, and says that every trace with spans before `position` is judged. Blocks are written
   * first: until the record names them they are nothing.
   */
  async save(position: number, data: Pick<ScoutData, 'walMs' | 'limiters'>): Promise<void> {
    const before = this.#term.record().position - 1
    while (this.#fresh.length > 0) {
      if (this.#open.decided.length === 0) this.#open = { from: before, decided: [] }
      const room = BLOCK - this.#open.decided.length
      this.#open.decided.push(...this.#fresh.splice(0, room))
      await this.#write(this.#openBlock, this.#open)
      if (this.#open.decided.length < BLOCK) break
      this.#openBlock++
      this.#open = { from: before, decided: [] }
    }
    await this.#term.save({
      position,
      data: { v: 1, ...data, count: this.table.end, firstBlock: this.#firstBlock } satisfies ScoutData,
    })
    await this.#deleteOld()
  }

  /** Another holder's hand on the block ends this term: what it wrote may be what counts. */
  async #write(block: number, content: Block): Promise<void> {
    await this.#writer.write(blockKey(this.#connector, this.#term.record(), block), encodeBlock(content))
  }

  /**
   * Gives up blocks that neither a cursor at `passed` nor a late span there can ask for; `keep` blocks stay before it.
   * They are deleted when the next save has said so: who finds one missing before would not know why.
   */
  async trim(passed: number, keep: number): Promise<void> {
    if (!Number.isFinite(passed)) return
    const needed = await blockFor(this.#term.state, this.#connector, this.#term.record(), passed)
    this.#firstBlock = Math.max(this.#firstBlock, needed - keep)
  }

  async #deleteOld(): Promise<void> {
    for (; this.#keptFrom < this.#firstBlock; this.#keptFrom++) {
      await this.#term.state.delete(blockKey(this.#connector, this.#term.record(), this.#keptFrom))
    }
  }
}
