import type { Batch, BatchMeta } from '../../../pipeline/batch/batch.ts'
import { decodeJsonBatch } from '../../../pipeline/batch/otlp-batch.ts'

/**
 * Rows of the table as OTLP and back, for whoever redacts. Types of attributes are lost in the table, which keeps texts: so
 * only the columns of `TEXT_COLUMNS` are taken from what comes back, all others stay what they are.
 */

const COLUMNS = [
  'TenantId',
  'TraceId',
  'SpanId',
  'toString(toUnixTimestamp64Nano(Timestamp))',
  'toString(WalSeq)',
  'WalRow',
  'TraceState',
  'SpanName',
  'StatusMessage',
  'ScopeName',
  'ScopeVersion',
  'mapKeys(ResourceAttributes)',
  'mapValues(ResourceAttributes)',
  'mapKeys(SpanAttributes)',
  'mapValues(SpanAttributes)',
  'Events.Name',
  'arrayMap(m -> (mapKeys(m), mapValues(m)), Events.Attributes)',
  'Links.TraceState',
  'arrayMap(m -> (mapKeys(m), mapValues(m)), Links.Attributes)',
] as const

export const SELECT_ROWS: string = COLUMNS.map((column, at) => `${column} AS c${at}`).join(', ')

/** What redaction may change, and what follows from it. Not the ids, which are keys. */
export const TEXT_COLUMNS = [
  'TraceState',
  'SpanName',
  'ServiceName',
  'ResourceAttributes',
  'ScopeName',
  'ScopeVersion',
  'SpanAttributes',
  'StatusMessage',
  'Events.Name',
  'Events.Attributes',
  'Links.TraceState',
  'Links.Attributes',
  'RunId',
  'SessionId',
  'UserId',
  'AgentName',
  'ToolName',
  'RequestModel',
  'ResponseModel',
  'Redactions',
] as const

type Cells = readonly unknown[]
type Pairs = readonly [keys: readonly string[], values: readonly string[]]

interface ResourceSpans {
  readonly scopeSpans: readonly unknown[]
}

/** Those of `rows` that `redact` changes, each a batch of one that becomes the same row but for its texts. All rows are of one tenant. */
export async function changedBy(
  redact: (batch: Batch) => Promise<void>,
  rows: readonly Cells[],
): Promise<readonly Batch[]> {
  const [first] = rows
  if (first === undefined) return []
  const meta = metaOf(String(first[0]))
  const batch = decodeJsonBatch(documentOf(rows.map(resourceSpans)), meta)
  const before = spansOf(batch)
  await redact(batch)
  const after = spansOf(batch)
  if (after.length !== rows.length || before.length !== rows.length) {
    throw new Error(`${rows.length} rows went into redaction, ${after.length} came out`)
  }
  return rows.flatMap((row, at) => {
    if (JSON.stringify(before[at]) === JSON.stringify(after[at])) return []
    const wal = { seq: Number(row[4]), row: Number(row[5]) }
    return [decodeJsonBatch(documentOf([after[at]]), { ...meta, wal })]
  })
}

function metaOf(tenant: string): BatchMeta {
  return {
    signal: 'traces',
    tenant,
    project: '',
    principal: '',
    source: 'stored',
    receivedAtMs: Date.now(),
    digest: new Uint8Array(16),
  }
}

function documentOf(resourceSpansList: readonly unknown[]): Buffer {
  return Buffer.from(JSON.stringify({ resourceSpans: resourceSpansList }))
}

function spansOf(batch: Batch): readonly ResourceSpans[] {
  return (JSON.parse(batch.toJson()) as { resourceSpans?: readonly ResourceSpans[] }).resourceSpans ?? []
}

/** A resource of its own for each row: what it says of the resource is changed for this row only. */
function resourceSpans(row: Cells): unknown {
  const text = (at: number): string => row[at] as string
  const time = text(3)
  return {
    resource: { attributes: attributes([row[11], row[12]] as Pairs) },
    scopeSpans: [
      {
        scope: { name: text(9), version: text(10) },
        spans: [
          {
            traceId: text(1),
            spanId: text(2),
            traceState: text(6),
            name: text(7),
            kind: 1,
            startTimeUnixNano: time,
            endTimeUnixNano: time,
            attributes: attributes([row[13], row[14]] as Pairs),
            events: texts(row[15]).map((name, at) => ({
              name,
              timeUnixNano: time,
              attributes: attributes((row[16] as readonly Pairs[])[at]),
            })),
            links: texts(row[17]).map((traceState, at) => ({
              traceId: NO_TRACE,
              spanId: NO_SPAN,
              traceState,
              attributes: attributes((row[18] as readonly Pairs[])[at]),
            })),
            status: { message: text(8) },
          },
        ],
      },
    ],
  }
}

/** Ids of links stay in their columns. */
const NO_TRACE = '0'.repeat(31) + '1'
const NO_SPAN = '0'.repeat(15) + '1'

function texts(list: unknown): readonly string[] {
  return list as readonly string[]
}

function attributes(pairs: Pairs | undefined): readonly unknown[] {
  const [keys, values] = pairs ?? [[], []]
  return keys.map((key, at) => ({ key, value: { stringValue: values[at] ?? '' } }))
}
