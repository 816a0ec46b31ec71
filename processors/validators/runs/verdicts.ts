import { createHash } from 'node:crypto'
import { writeRequest, type SpanFields } from '../../../proto/otlp/write.ts'
import { NONE, type Batch, type BatchMeta } from '../../../pipeline/batch/batch.ts'
import { keyId } from '../../../pipeline/batch/keys.ts'
import { decodeBatch } from '../../../pipeline/batch/otlp-batch.ts'
import type { Judged } from '../annotate.ts'
import type { Run, RunSpan } from '../validator.ts'

/** Of the batches that hold verdicts. Senders have no say in it: receivers write `<receiver>/<transport>`. */
const SOURCE = 'weir/validators'
const PRINCIPAL = 'weir'
const SCOPE = { name: 'weir.validators', version: '1' }
const KIND_INTERNAL = 1
const UNSET = 0
const SERVICE = keyId('service.name')

export function isVerdict({ source, principal }: BatchMeta): boolean {
  return source === SOURCE && principal === PRINCIPAL
}

/** A finding of a run, and the span that it is about. */
export interface RunFinding {
  readonly judged: Judged
  readonly span: RunSpan | undefined
}

/** By the id of their verdicts; without those whose verdicts are `known`. The same finding has the same id. */
export function newFindings(
  run: Run,
  findings: readonly RunFinding[],
  known: ReadonlySet<string>,
): ReadonlyMap<string, RunFinding> {
  const fresh = new Map<string, RunFinding>()
  for (const finding of findings) {
    const id = verdictId(run, finding)
    if (!known.has(id)) fresh.set(id, finding)
  }
  return fresh
}

/** Verdicts as spans of the run's trace, `validate <name>`. The same verdicts have the same digest: they are stored once. */
export function verdictBatch(run: Run, findings: ReadonlyMap<string, RunFinding>): Batch {
  const spans = Array.from(findings, ([id, finding]) => verdictSpan(run, finding, id))
  const first = run.spans[0]
  const service = first === undefined ? '' : serviceOf(first)
  const resource = optional('service.name', service)
  const bytes = writeRequest([{ resource, scope: SCOPE, spans }])
  const digest = createHash('sha256')
    .update(`${run.tenant}\0${run.traceId}\0${[...findings.keys()].join('\0')}`)
    .digest()
    .subarray(0, 16)
  return decodeBatch(bytes, {
    signal: 'traces',
    tenant: run.tenant,
    project: run.project,
    principal: PRINCIPAL,
    source: SOURCE,
    receivedAtMs: run.atMs,
    digest,
  })
}

function verdictId(run: Run, { judged, span }: RunFinding): string {
  const about = span?.spanId ?? ''
  const parts = [run.tenant, run.traceId, 'verdict', judged.validator, judged.rule, about]
  return createHash('sha256').update(parts.join('\0')).digest('hex').slice(0, 16)
}

function verdictSpan(run: Run, { judged, span }: RunFinding, id: string): SpanFields {
  const root = run.spans.find(({ parentId }) => parentId === '') ?? run.spans[0]
  const about = span ?? root
  const atNs = span === undefined ? endOf(run) : span.batch.endNs(span.row)
  return {
    traceId: Buffer.from(run.traceId, 'hex'),
    spanId: Buffer.from(id, 'hex'),
    parentSpanId: about === undefined ? undefined : Buffer.from(about.spanId, 'hex'),
    name: `validate ${judged.validator}`,
    kind: KIND_INTERNAL,
    startNs: atNs,
    endNs: atNs,
    attributes: [
      ['weir.violations', 1],
      ['weir.violation.severity', judged.severity],
      ['weir.violation.rule', judged.rule],
      ['weir.violation.message', judged.message],
      ...optional('weir.violation.span_id', span?.spanId ?? ''),
      ...optional('agent.run.id', run.runId),
      ...optional('gen_ai.agent.name', run.agent),
    ],
    // A verdict is no failed step of the run.
    statusCode: UNSET,
  }
}

function endOf(run: Run): bigint {
  let end = 0n
  for (const { batch, row } of run.spans) {
    const at = batch.endNs(row)
    if (at > end) end = at
  }
  return end
}

function optional(key: string, value: string): [string, string][] {
  return value === '' ? [] : [[key, value]]
}

function serviceOf({ batch, row }: RunSpan): string {
  const ref = batch.resourceAttr(row, SERVICE)
  return ref === NONE ? '' : batch.text(ref)
}
