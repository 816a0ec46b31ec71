import {
  ByteColumn,
  WordColumn,
  NullableColumn,
  RowsColumn,
  StringColumn,
  type Column,
} from '../../proto/clickhouse/columns.ts'
import { LowCardinalityColumn } from '../../proto/clickhouse/low-cardinality.ts'
import { nativeBlock, nativeStructure } from '../../proto/clickhouse/native.ts'
import { COSTS, TOKENS } from '../../pipeline/batch/facts.ts'

/** Map(LowCardinality(String), String). */
export interface MapColumn {
  readonly keys: LowCardinalityColumn
  readonly values: StringColumn
  readonly rows: RowsColumn
}

function mapColumn(name: string, wrap?: 'Array'): MapColumn {
  const keys = new LowCardinalityColumn(name)
  const values = new StringColumn(name)
  const type = 'Map(LowCardinality(String), String)'
  const rows = new RowsColumn(name, wrap === undefined ? type : `Array(${type})`, [keys, values])
  return { keys, values, rows }
}

const text = (name: string) => new StringColumn(name)
const low = (name: string) => new LowCardinalityColumn(name)
const u32 = (name: string) => new WordColumn(name, 'UInt32', 4)
const u64 = (name: string) => new WordColumn(name, 'UInt64', 8)
const f64 = (name: string) => new WordColumn(name, 'Float64', 8)
const usd = (name: string) => new WordColumn(name, MONEY, 8)
const time = (name: string) => new WordColumn(name, TIME, 8)
const array = (of: StringColumn | WordColumn | LowCardinalityColumn | RowsColumn) =>
  new RowsColumn(of.name, `Array(${of.type})`, [of])

const MONEY = 'Decimal(18, 12)'
const TIME = 'DateTime64(9)'

/** The columns of the collector's exporter, in its order. */
function spanColumns() {
  return {
    Timestamp: time('Timestamp'),
    TraceId: text('TraceId'),
    SpanId: text('SpanId'),
    ParentSpanId: text('ParentSpanId'),
    TraceState: text('TraceState'),
    SpanName: low('SpanName'),
    SpanKind: low('SpanKind'),
    ServiceName: low('ServiceName'),
    resource: mapColumn('ResourceAttributes'),
    ScopeName: text('ScopeName'),
    ScopeVersion: text('ScopeVersion'),
    attributes: mapColumn('SpanAttributes'),
    Duration: u64('Duration'),
    StatusCode: low('StatusCode'),
    StatusMessage: text('StatusMessage'),
    events: eventColumns(),
    links: linkColumns(),
  }
}

function eventColumns() {
  const times = time('Events.Timestamp')
  const names = low('Events.Name')
  const map = mapColumn('Events.Attributes')
  return { times, names, map, rows: [array(times), array(names), array(map.rows)] }
}

function linkColumns() {
  const traces = text('Links.TraceId')
  const spans = text('Links.SpanId')
  const states = text('Links.TraceState')
  const map = mapColumn('Links.Attributes')
  return { traces, spans, states, map, rows: [array(traces), array(spans), array(states), array(map.rows)] }
}

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
    Redactions: u32('Redactions'),
    Violations: u32('Violations'),
    EventId: new WordColumn('EventId', 'FixedString(16)', 16),
    WalSeq: u64('WalSeq'),
    WalRow: u32('WalRow'),
  }
}

const makeColumns = () => ({ ...spanColumns(), ...meaningColumns() })

export type SpanColumns = ReturnType<typeof makeColumns>

/** Rows on their way into `otel_traces`: filled by `SpanWriter`, sent as one Native block. Kept and cleared between blocks. */
export class SpanBlock {
  readonly columns: SpanColumns = makeColumns()
  rows = 0
  readonly #all: readonly Column[] = flatten(this.columns)

  get size(): number {
    return this.#all.reduce((sum, column) => sum + column.size, 0)
  }

  /** Valid until the block is filled again. */
  parts(): Uint8Array[] {
    return nativeBlock(this.#all, this.rows)
  }

  get structure(): string {
    return nativeStructure(this.#all)
  }

  get names(): readonly string[] {
    return this.#all.map((column) => column.name)
  }

  clear(): void {
    this.rows = 0
    for (const column of this.#all) column.clear()
  }
}

function flatten(columns: SpanColumns): Column[] {
  const all: Column[] = []
  for (const column of Object.values(columns)) {
    if (Array.isArray(column)) all.push(...column)
    else if ('parts' in column) all.push(column)
    else if (Array.isArray(column.rows)) all.push(...column.rows)
    else all.push(column.rows)
  }
  return all
}
