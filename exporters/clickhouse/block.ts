import {
  ByteColumn,
  type Column,
  type NativeColumn,
  NullableColumn,
  StringColumn,
  WordColumn,
} from '../../proto/clickhouse/columns.ts'
import { LowCardinalityColumn } from '../../proto/clickhouse/low-cardinality.ts'
import { nativeBlock, nativeStructure } from '../../proto/clickhouse/native.ts'
import { COSTS, TOKENS } from '../../pipeline/batch/facts.ts'
import { SpanKernel } from './kernel.ts'
import { spanColumns } from './span-columns.ts'

const text = (name: string) => new StringColumn(name)
const low = (name: string) => new LowCardinalityColumn(name)
const u32 = (name: string) => new WordColumn(name, 'UInt32', 4)
const u64 = (name: string) => new WordColumn(name, 'UInt64', 8)
const f64 = (name: string) => new WordColumn(name, 'Float64', 8)
const usd = (name: string) => new WordColumn(name, MONEY, 8)

const MONEY = 'Decimal(18, 12)'

/** What weir knows of a span (contract section 6). */
function meaningColumns() {
  return {
    TenantId: low('TenantId'),
    ProjectId: low('ProjectId'),
    RunId: text('RunId'),
    Seq: u32('Seq'),
    SessionId: text('SessionId'),
    UserId: text('UserId'),
    AgentName: low('AgentName'),
    ToolName: low('ToolName'),
    Operation: low('Operation'),
    ModelCall: new ByteColumn('ModelCall'),
    Provider: low('Provider'),
    RequestModel: low('RequestModel'),
    ResponseModel: low('ResponseModel'),
    PriceModel: low('PriceModel'),
    ServiceTier: low('ServiceTier'),
    FinishReason: low('FinishReason'),
    tokens: TOKENS.map(u32),
    UsageSemantics: low('UsageSemantics'),
    costs: COSTS.map(usd),
    CostProvidedUsd: new NullableColumn('CostProvidedUsd', MONEY, 8),
    CostStatus: low('CostStatus'),
    CostReason: low('CostReason'),
    PriceVersion: low('PriceVersion'),
    PriceHints: low('PriceHints'),
    TimeToFirstTokenMs: f64('TimeToFirstTokenMs'),
    SampleRate: f64('SampleRate'),
    WalSeq: u64('WalSeq'),
    WalRow: u32('WalRow'),
  }
}

export type MeaningColumns = ReturnType<typeof meaningColumns>

/** Rows on their way into `otel_traces`: filled by `SpanWriter`, sent as one Native block. Kept and cleared between blocks. */
export class SpanBlock {
  readonly meaning: MeaningColumns = meaningColumns()
  readonly #meaning: readonly Column[] = Object.values(this.meaning).flat()
  readonly #all: readonly NativeColumn[] = [...spanColumns(() => this.kernel), ...this.#meaning]
  #kernel: SpanKernel | undefined
  #parts: Uint8Array[] | undefined

  /** Made when it is first needed: names and structure are also asked of blocks that nobody fills. */
  get kernel(): SpanKernel {
    this.#kernel ??= new SpanKernel()
    return this.#kernel
  }

  get rows(): number {
    return this.kernel.rows
  }

  get isFull(): boolean {
    return this.kernel.isFull
  }

  /**
   * Its rows in the order of the table's key, so that ClickHouse has nothing to sort: a fifth of an insert's CPU. Valid
   * until the block is cleared, which it must be before it takes more rows.
   */
  parts(): Uint8Array[] {
    this.#parts ??= this.#finished()
    return this.#parts
  }

  #finished(): Uint8Array[] {
    const { kernel } = this
    if (kernel.finish()) for (const column of this.#meaning) column.arrange(kernel)
    return nativeBlock(this.#all, this.rows)
  }

  /** Of its rows as they came, 16 bytes each; a copy. */
  eventIds(): Buffer {
    return this.kernel.eventIds()
  }

  get structure(): string {
    return nativeStructure(this.#all)
  }

  get names(): readonly string[] {
    return this.#all.map((column) => column.name)
  }

  clear(): void {
    this.#parts = undefined
    if (this.#kernel?.isSpent === true) this.#kernel = undefined
    this.#kernel?.clear()
    for (const column of this.#meaning) column.clear()
  }
}
