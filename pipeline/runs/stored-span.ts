import type { QueryResult } from '../component.ts'
import type { EventTexts, SpanTexts } from './span-texts.ts'

/** A row of `otel_traces`, as far as a run's steps need it. */
export interface StoredSpan extends SpanTexts {
  readonly tenant: string
  readonly project: string
  readonly traceId: string
  readonly spanId: string
  readonly parentId: string
  readonly runId: string
  readonly name: string
  readonly agent: string
  readonly tool: string
  readonly operation: string
  readonly modelCall: boolean
  readonly provider: string
  readonly model: string
  readonly finishReason: string
  readonly tokensIn: number
  readonly tokensOut: number
  readonly costUsd: string
  readonly costStatus: string
  readonly startNs: bigint
  readonly durationNs: bigint
  readonly status: 'ok' | 'error' | 'unset'
  readonly statusMessage: string
}

/** In the order that `storedSpan` reads them. */
const COLUMNS = [
  'TenantId',
  'ProjectId',
  'TraceId',
  'SpanId',
  'ParentSpanId',
  'RunId',
  'SpanName',
  'AgentName',
  'ToolName',
  'Operation',
  'ModelCall',
  'Provider',
  "if(ResponseModel != '', ResponseModel, RequestModel)",
  'FinishReason',
  'toUInt64(InputTokens) + CacheReadTokens + CacheWriteTokens + CacheWrite1hTokens + AudioInputTokens + ImageInputTokens',
  'toUInt64(OutputTokens) + ReasoningTokens + AudioOutputTokens + ImageOutputTokens',
  'toString(CostUsd)',
  'CostStatus',
  'toString(toUnixTimestamp64Nano(Timestamp))',
  'toString(Duration)',
  'StatusCode',
  'StatusMessage',
  'SpanAttributes',
  'Events.Name',
  'Events.Attributes',
]

function ofRun(hasTenant: boolean): string {
  return (
    `FROM otel_traces WHERE (RunId = {id:String} OR TraceId = {hex:String})` +
    `${hasTenant ? ' AND TenantId = {tenant:String}' : ''} AND NOT startsWith(SpanName, 'validate ')`
  )
}

/** One row per tenant that has the run: a digest of all that its steps are made of. */
export function runDigests(hasTenant: boolean): string {
  return (
    `SELECT TenantId, hex(sipHash128(arraySort(groupArray(sipHash128(${COLUMNS.join(', ')}))))) ` +
    `${ofRun(hasTenant)} GROUP BY TenantId ORDER BY TenantId`
  )
}

/** Rows of a run or trace: `{id:String}` as given, `{hex:String}` the same as a trace id, `{tenant:String}` where one is known. */
export function selectRun(hasTenant: boolean): string {
  return `SELECT ${COLUMNS.join(', ')} ${ofRun(hasTenant)} ORDER BY TenantId, Timestamp, Seq, SpanId`
}

const STATUS: Readonly<Record<string, StoredSpan['status']>> = { Ok: 'ok', Error: 'error' }

export function storedSpan(row: QueryResult['rows'][number]): StoredSpan {
  let at = 0
  const text = (): string => {
    const value = row[at++]
    return typeof value === 'string' ? value : JSON.stringify(value)
  }
  return {
    tenant: text(),
    project: text(),
    traceId: text(),
    spanId: text(),
    parentId: text(),
    runId: text(),
    name: text(),
    agent: text(),
    tool: text(),
    operation: text(),
    modelCall: text() === '1',
    provider: text(),
    model: text(),
    finishReason: text(),
    tokensIn: Number(text()),
    tokensOut: Number(text()),
    costUsd: text(),
    costStatus: text(),
    startNs: BigInt(text()),
    durationNs: BigInt(text()),
    status: STATUS[text()] ?? 'unset',
    statusMessage: text(),
    attributes: textsOf(row[at++]),
    events: eventsOf(row[at++], row[at++]),
  }
}

function textsOf(map: unknown): ReadonlyMap<string, string> {
  return new Map(Object.entries((map ?? {}) as Record<string, string>))
}

function eventsOf(names: unknown, attributes: unknown): readonly EventTexts[] {
  const maps = attributes as readonly unknown[]
  return (names as readonly string[]).map((name, index) => ({ name, attributes: textsOf(maps[index]) }))
}
