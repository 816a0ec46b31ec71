import type { Batch } from '../../../pipeline/batch/batch.ts'
import { keyId } from '../../../pipeline/batch/keys.ts'
import { factsOf } from '../../../pipeline/genai/facts-of.ts'
import type { Run, RunSpan } from '../validator.ts'
import { isVerdict, label } from './verdicts.ts'
import type { TracedRun } from './run-table.ts'

const TOON_TYPE = keyId('toon.type')
const TOON_ACTION = keyId('toon.action')

export interface ReadRun {
  readonly run: Run
  /** Ids of the verdicts that the log has already. */
  readonly verdicts: ReadonlySet<string>
}

/** A run out of the batches that hold its spans, which may hold others' as well, and some spans twice. */
export function readRun(traced: TracedRun, batches: readonly Batch[], atMs: number): ReadRun {
  const spans = new Map<string, RunSpan>()
  const verdicts = new Set<string>()
  let project: string | undefined
  let runId = ''
  let agent = ''
  for (const batch of batches) {
    const facts = factsOf(batch)
    for (const row of rowsOf(batch, traced.trace)) {
      const spanId = hex(batch.spanId(row))
      project ??= batch.meta.project
      if (isVerdict(batch.meta)) verdicts.add(spanId)
      else if (!spans.has(spanId)) spans.set(spanId, spanOf(batch, row, spanId))
      runId ||= label(facts.runId.at(row))
      agent ||= label(facts.agentName.at(row))
    }
  }
  const run: Run = {
    tenant: traced.tenant,
    project: project ?? '',
    traceId: traced.trace,
    runId,
    agent,
    status: traced.ended ?? 'idle',
    atMs,
    spans: inOrder([...spans.values()]),
  }
  return { run, verdicts }
}

/** The spans of a trace without the others of their batch; undefined: none. */
export function onlyOf(batch: Batch, trace: string): Batch | undefined {
  const rows = [...rowsOf(batch, trace)]
  return rows.length === 0 ? undefined : batch.select(rows)
}

function* rowsOf(batch: Batch, trace: string): Iterable<number> {
  const wanted = Buffer.from(trace, 'hex')
  for (let row = 0; row < batch.rows; row++) if (wanted.equals(batch.traceId(row))) yield row
}

function spanOf(batch: Batch, row: number, spanId: string): RunSpan {
  const facts = factsOf(batch)
  const toon = batch.attr(row, TOON_TYPE)
  const action = batch.attr(row, TOON_ACTION)
  const startMs = batch.startMs(row)
  return {
    batch,
    row,
    spanId,
    parentId: hex(batch.parentSpanId(row)),
    name: batch.name(row),
    startMs,
    endMs: startMs + Number(batch.durationNs(row)) / 1e6,
    statusCode: batch.statusCode(row),
    step: toon < 0 ? facts.operation.at(row) : batch.word(toon),
    action: action < 0 ? facts.toolName.at(row) : batch.word(action),
    seq: facts.seq[row] ?? 0,
  }
}

/** Events by their numbers, what has none after them; spans of other senders by their start. */
function inOrder(spans: RunSpan[]): RunSpan[] {
  const byTime = (a: RunSpan, b: RunSpan) => a.startMs - b.startMs || a.endMs - b.endMs
  const numbered = spans.filter(({ seq }) => seq > 0)
  const others = spans.filter(({ seq }) => seq === 0)
  return [...numbered.toSorted((a, b) => a.seq - b.seq || byTime(a, b)), ...others.toSorted(byTime)]
}

export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex')
}
