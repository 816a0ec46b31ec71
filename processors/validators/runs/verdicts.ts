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
const LONGEST_LABEL = 512

export function isVerdict({ source, principal }: BatchMeta): boolean {
  return source === SOURCE && principal === PRINCIPAL
}

/** A finding of a run, and the span that it is about. */
export interface RunFinding {
  readonly judged: Judged
  readonly span: RunSpan | undefined
}

/** What verdicts say of their run. JSON. */
export interface Subject {
  readonly tenant: string
  readonly project: string
  readonly traceId: string
  readonly runId: string
  readonly agent: string
  /** Of its first span. */
  readonly service: string
  /** Its root span, or else its first; 16 hex digits. */
  readonly rootId: string
  /** Unix ns. */
  readonly endNs: string
}

export function subjectOf(run: Run): Subject {
  const { tenant, project, traceId, runId, agent, spans } = run
  const [first] = spans
  const root = spans.find(({ parentId }) => parentId === '') ?? first
  const service = first === undefined ? '' : serviceOf(first)
  const endNs = String(endOf(run))
  return { tenant, project, traceId, runId, agent, service, rootId: root?.spanId ?? '', endNs }
}

export interface Verdict {
  readonly id: string
  readonly subject: Subject
  readonly finding: RunFinding
}

/** A verdict of each finding, once. The same finding has the same id. */
export function verdictsOf(subject: Subject, findings: readonly RunFinding[]): readonly Verdict[] {
  const verdicts = new Map<string, Verdict>()
  for (const finding of findings) {
    const id = verdictId(subject, finding)
    verdicts.set(id, { id, subject, finding })
  }
  return [...verdicts.values()]
}

/**
 * Verdicts (at least one, all of one tenant and project) as spans of their runs' traces, `validate <name>`. The same verdicts
 * have the same digest, so that they are stored once.
 */
export function verdictBatch(verdicts: readonly Verdict[], atMs: number): Batch {
  const services = new Map<string, SpanFields[]>()
  for (const verdict of verdicts) {
    const spans = services.get(verdict.subject.service) ?? []
    spans.push(verdictSpan(verdict))
    services.set(verdict.subject.service, spans)
  }
  const groups = Array.from(services, ([service, spans]) => {
    return { resource: optional('service.name', service), scope: SCOPE, spans }
  })
  const { tenant = '', project = '' } = verdicts[0]?.subject ?? {}
  const named = verdicts.map(({ id, subject }) => `${subject.traceId}${id}`)
  return decodeBatch(writeRequest(groups), {
    signal: 'traces',
    tenant,
    project,
    principal: PRINCIPAL,
    source: SOURCE,
    receivedAtMs: atMs,
    digest: createHash('sha256')
      .update([tenant, ...named].join('\0'))
      .digest()
      .subarray(0, 16),
  })
}

function verdictId({ tenant, traceId }: Subject, { judged, span }: RunFinding): string {
  const parts = [tenant, traceId, 'verdict', judged.validator, judged.rule, span?.spanId ?? '']
  return createHash('sha256').update(parts.join('\0')).digest('hex').slice(0, 16)
}

function verdictSpan({ id, subject, finding: { judged, span } }: Verdict): SpanFields {
  const about = span?.spanId ?? subject.rootId
  const atNs = span === undefined ? BigInt(subject.endNs) : span.batch.endNs(span.row)
  return {
    traceId: Buffer.from(subject.traceId, 'hex'),
    spanId: Buffer.from(id, 'hex'),
    parentSpanId: about === '' ? undefined : Buffer.from(about, 'hex'),
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
      ...optional('agent.run.id', subject.runId),
      ...optional('gen_ai.agent.name', subject.agent),
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
  return ref === NONE ? '' : label(batch.text(ref))
}

/** Of a run: every verdict on it repeats it, and has to fit into the log. */
export function label(text: string): string {
  return text.slice(0, LONGEST_LABEL)
}
