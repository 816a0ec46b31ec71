import { COST_STATUS, COSTS } from '../../../pipeline/batch/facts.ts'
import type { StoredCalls } from '../../../pipeline/reprice.ts'
import { StringColumn, WordColumn, type Column } from '../../../proto/clickhouse/columns.ts'
import { LowCardinalityColumn } from '../../../proto/clickhouse/low-cardinality.ts'
import { nativeBlock, nativeStructure } from '../../../proto/clickhouse/native.ts'
import { halves } from '../../../pipeline/batch/halves.ts'
import { AT, type CallRow } from './calls.ts'

/** Rows whose cost columns must be rewritten: their key, and all of the columns. */
export class Changes {
  readonly #key = new StringColumn('Key')
  readonly #costs = COSTS.map((name) => new WordColumn(name, 'Decimal(18, 12)', 8))
  readonly #status = new LowCardinalityColumn('CostStatus')
  readonly #reason = new LowCardinalityColumn('CostReason')
  readonly #model = new LowCardinalityColumn('PriceModel')
  readonly #version = new LowCardinalityColumn('PriceVersion')
  readonly #rewritten: readonly Column[] = [
    ...this.#costs,
    this.#status,
    this.#reason,
    this.#model,
    this.#version,
  ]
  readonly #all: readonly Column[] = [this.#key, ...this.#rewritten]
  /** The table's partitions that hold them. */
  readonly partitions = new Set<string>()
  rows = 0

  add(call: CallRow, { facts }: StoredCalls, row: number): void {
    const units = halves(facts.cost)
    this.#key.addText(call[AT.Key] as string)
    for (const [part, column] of this.#costs.entries()) {
      const at = (row * COSTS.length + part) * 2
      column.addPair(units[at] ?? 0, units[at + 1] ?? 0)
    }
    this.#status.addText(COST_STATUS[facts.costStatus[row] ?? 0] ?? '')
    this.#reason.addText(facts.costReason.at(row))
    this.#model.addText(facts.priceModel.at(row))
    this.#version.addText(facts.priceVersion.at(row))
    this.partitions.add(String(call[AT.Partition]))
    this.rows++
  }

  /** Names of the columns that are rewritten. */
  get rewritten(): readonly string[] {
    return this.#rewritten.map(({ name }) => name)
  }

  get names(): readonly string[] {
    return this.#all.map(({ name }) => name)
  }

  get structure(): string {
    return nativeStructure(this.#all)
  }

  /** Valid until rows are added or cleared. */
  parts(): Uint8Array[] {
    return nativeBlock(this.#all, this.rows)
  }

  clear(): void {
    for (const column of this.#all) column.clear()
    this.partitions.clear()
    this.rows = 0
  }
}
