import type { NativeColumn } from '../../proto/clickhouse/columns.ts'
import { VERSION } from '../../proto/clickhouse/low-cardinality.ts'
import type { SpanKernel } from './kernel.ts'

/** A column whose body the kernel holds: `parts` are the numbers that assembly/columns.ts gives them. */
interface Spec {
  readonly name: string
  readonly type: string
  readonly parts: readonly number[]
}

const TEXT = 'String'
const LOW = 'LowCardinality(String)'
const MAP = 'Map(LowCardinality(String), String)'
const TIME = 'DateTime64(9)'

/** The columns of the collector's exporter, in its order, and what else comes straight from a span's bytes. */
export const SPAN_COLUMNS: readonly Spec[] = [
  { name: 'Timestamp', type: TIME, parts: [0] },
  { name: 'TraceId', type: TEXT, parts: [1] },
  { name: 'SpanId', type: TEXT, parts: [2] },
  { name: 'ParentSpanId', type: TEXT, parts: [3] },
  { name: 'TraceState', type: TEXT, parts: [4] },
  { name: 'SpanName', type: LOW, parts: [5] },
  { name: 'SpanKind', type: LOW, parts: [6] },
  { name: 'ServiceName', type: LOW, parts: [7] },
  { name: 'ResourceAttributes', type: MAP, parts: [8, 9, 10] },
  { name: 'ScopeName', type: TEXT, parts: [11] },
  { name: 'ScopeVersion', type: TEXT, parts: [12] },
  { name: 'SpanAttributes', type: MAP, parts: [13, 14, 15] },
  { name: 'Duration', type: 'UInt64', parts: [16] },
  { name: 'StatusCode', type: LOW, parts: [17] },
  { name: 'StatusMessage', type: TEXT, parts: [18] },
  // The arrays of a Nested share the ends of their rows.
  { name: 'Events.Timestamp', type: `Array(${TIME})`, parts: [19, 20] },
  { name: 'Events.Name', type: `Array(${LOW})`, parts: [19, 21] },
  { name: 'Events.Attributes', type: `Array(${MAP})`, parts: [19, 22, 23, 24] },
  { name: 'Links.TraceId', type: `Array(${TEXT})`, parts: [25, 26] },
  { name: 'Links.SpanId', type: `Array(${TEXT})`, parts: [25, 27] },
  { name: 'Links.TraceState', type: `Array(${TEXT})`, parts: [25, 28] },
  { name: 'Links.Attributes', type: `Array(${MAP})`, parts: [25, 29, 30, 31] },
  { name: 'Redactions', type: 'UInt32', parts: [32] },
  { name: 'Violations', type: 'UInt32', parts: [33] },
  { name: 'EventId', type: 'FixedString(16)', parts: [34] },
]

/** The kernel must have finished them. */
export function spanColumns(kernel: () => SpanKernel): NativeColumn[] {
  return SPAN_COLUMNS.map(({ name, type, parts }) => {
    const prefix = type.includes(LOW) ? [VERSION] : []
    return { name, type, parts: () => [...prefix, ...parts.map((part) => kernel().part(part))] }
  })
}
