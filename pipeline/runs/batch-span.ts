import type { AttrRange, AttrRef, Batch } from '../batch/batch.ts'
import { ATTR } from '../batch/batch.ts'
import { TOKENS } from '../batch/facts.ts'
import { factsOf } from '../genai/facts-of.ts'
import type { StoredSpan } from './stored-span.ts'

const STATUS: readonly StoredSpan['status'][] = ['unset', 'ok', 'error']
const INPUT_BUCKETS = TOKENS.indexOf('OutputTokens')

/** A row of a batch as the store would give it back, before it was priced. Additions by `set` are not in it. */
export function batchSpan(batch: Batch, row: number): StoredSpan {
  const facts = factsOf(batch)
  const tokens = Array.from(facts.tokens.subarray(row * TOKENS.length, (row + 1) * TOKENS.length))
  return {
    tenant: batch.meta.tenant,
    project: batch.meta.project,
    traceId: hex(batch.traceId(row)),
    spanId: hex(batch.spanId(row)),
    parentId: hex(batch.parentSpanId(row)),
    runId: facts.runId.at(row),
    name: batch.name(row),
    agent: facts.agentName.at(row),
    tool: facts.toolName.at(row),
    operation: facts.operation.at(row),
    modelCall: facts.leaf[row] === 1,
    provider: facts.provider.at(row),
    model: facts.responseModel.at(row) || facts.requestModel.at(row),
    finishReason: facts.finishReason.at(row),
    tokensIn: sum(tokens.slice(0, INPUT_BUCKETS)),
    tokensOut: sum(tokens.slice(INPUT_BUCKETS)),
    costUsd: '0',
    costStatus: 'none',
    startNs: batch.startNs(row),
    durationNs: batch.durationNs(row),
    status: STATUS[batch.statusCode(row)] ?? 'unset',
    statusMessage: batch.statusMessage(row),
    attributes: textsOf(batch, batch.attrs(row, 'span')),
    events: eventsOf(batch, row),
  }
}

function eventsOf(batch: Batch, row: number): StoredSpan['events'] {
  const { first, end } = batch.events(row)
  return Array.from({ length: end - first }, (_, at) => ({
    name: batch.eventName(first + at),
    attributes: textsOf(batch, batch.eventAttrs(first + at)),
  }))
}

function textsOf(batch: Batch, { first, end }: AttrRange): ReadonlyMap<string, string> {
  const texts = new Map<string, string>()
  for (let at = first; at < end; at++) {
    const ref = at as AttrRef
    if (batch.type(ref) !== ATTR.empty) texts.set(batch.key(ref), batch.text(ref))
  }
  return texts
}

function hex(id: Uint8Array): string {
  return Buffer.from(id.buffer, id.byteOffset, id.byteLength).toString('hex')
}

function sum(counts: readonly number[]): number {
  return counts.reduce((total, count) => total + count, 0)
}
