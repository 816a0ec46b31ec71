import { z } from 'zod'
import { givenSpanId, runIdOf } from '../../pipeline/agent/ids.ts'
import type { SpanFields } from '../../proto/otlp/write.ts'
import { LineError } from './line-error.ts'
import { attributesFrom, type Pair } from './pairs.ts'
import { before, nanoseconds, nanosecondsOf } from './times.ts'

/** Audit events, version 3: what an event is, and how it becomes a span (design section 6). */

const id = z.string().min(1).max(256)
const amount = z.number().nonnegative().nullish()
const bag = z.record(z.string(), z.unknown()).nullish()

const event = z.looseObject({
  event_version: z.union([z.string(), z.number()]).optional(),
  trace_id: id,
  span_id: id,
  parent_span_id: id.nullish(),
  timestamp: z.union([z.string(), z.number()]),
  event_type: z.string().min(1).max(256),
  agent: z.string().default(''),
  action: z.string().default(''),
  status: z.enum(['ok', 'error', 'timeout', 'retry']),
  latency_ms: amount,
  tokens_input: amount,
  tokens_output: amount,
  cost_usd: amount,
  data: bag,
  error: z
    .looseObject({
      type: z.string(),
      message: z.string(),
      traceback: z.string().nullish(),
      recoverable: z.boolean().nullish(),
      input_snapshot: z.unknown().optional(),
      environment: z.unknown().optional(),
    })
    .nullish(),
})

type AuditEvent = z.output<typeof event>

/** True for an object that has what only audit events have. */
export function isAudit(value: Record<string, unknown>): boolean {
  return typeof value['event_type'] === 'string' && 'span_id' in value && 'timestamp' in value
}

/** Operations of the OTel GenAI conventions. `request` and `agent` events sum up the calls below them. */
const OPERATIONS: ReadonlyMap<string, string> = new Map([
  ['llm.invoke', 'chat'],
  ['llm.error', 'chat'],
  ['tool.call', 'execute_tool'],
  ['tool.result', 'execute_tool'],
  ['tool.error', 'execute_tool'],
  ['request.end', 'invoke_agent'],
  ['agent.route', 'agent_step'],
  ['agent.decision', 'agent_step'],
  ['agent.retry', 'agent_step'],
  ['agent.fallback', 'agent_step'],
  // Tokens of these were paid for elsewhere: by the call that filled the cache, by the call that is judged.
  ['cache.hit', 'cached_chat'],
  ['prompt.efficiency', 'evaluate'],
])

/** These share the span id of the event that ends what they begin: they are a moment below it. */
function isMoment(value: AuditEvent): boolean {
  return (
    value.event_type === 'request.start' || (value.event_type === 'tool.call' && value.latency_ms == null)
  )
}

/** Throws LineError with the field that is wrong. */
export function auditSpan(value: unknown, tenant: string): SpanFields {
  const parsed = event.safeParse(value)
  if (!parsed.success) {
    const [issue] = parsed.error.issues
    throw new LineError(`audit event: ${issue?.path.join('.') ?? ''}: ${issue?.code ?? 'invalid'}`)
  }
  const audit = parsed.data
  const endNs = nanoseconds(audit.timestamp, 'auto')
  if (endNs === undefined) throw new LineError('audit event: timestamp: no time')
  const run = runIdOf(tenant, audit.trace_id)
  const own = givenSpanId(run, audit.span_id)
  const moment = isMoment(audit)
  const parent = audit.parent_span_id == null ? undefined : givenSpanId(run, audit.parent_span_id)
  const statusCode = STATUS[audit.status]
  return {
    traceId: Buffer.from(run.trace, 'hex'),
    spanId: moment ? givenSpanId(run, `${audit.span_id}\0${audit.event_type}`) : own,
    parentSpanId: moment ? own : parent,
    name: nameOf(audit),
    kind: 1,
    startNs: before(endNs, nanosecondsOf(audit.latency_ms ?? 0, 'ms')),
    endNs,
    statusCode,
    statusMessage:
      statusCode === 2 ? (audit.error?.message ?? audit.status).slice(0, MAX_MESSAGE) : undefined,
    attributes: attributesOf(audit, moment),
  }
}

const MAX_MESSAGE = 1024
const STATUS = { ok: 1, error: 2, timeout: 2, retry: 1 } as const

function nameOf({ event_type: type, action, data }: AuditEvent): string {
  if (type.startsWith('tool.')) return `execute_tool ${action}`
  if (type.startsWith('llm.')) return `chat ${modelOf(data) ?? action}`
  return action === '' ? type : `${type} ${action}`
}

function modelOf(data: AuditEvent['data']): string | undefined {
  return textIn(data, 'model') ?? textIn(data, 'model_id')
}

function textIn(data: AuditEvent['data'], key: string): string | undefined {
  const value = data == null || !Object.hasOwn(data, key) ? undefined : data[key]
  return typeof value === 'string' && value !== '' ? value : undefined
}

function attributesOf(audit: AuditEvent, moment: boolean): Pair[] {
  const { event_type: type, data, error } = audit
  const model = modelOf(data)
  return attributesFrom([
    ['agent.run.id', audit.trace_id],
    ['audit.event_type', type],
    ['audit.event_version', audit.event_version === undefined ? undefined : String(audit.event_version)],
    ['audit.action', audit.action],
    ['audit.status', audit.status],
    ['audit.span_id', audit.span_id],
    ['retry', audit.status === 'retry' ? true : undefined],
    ['gen_ai.agent.name', audit.agent === '' ? undefined : audit.agent],
    ['gen_ai.operation.name', moment ? undefined : OPERATIONS.get(type)],
    ['gen_ai.tool.name', type.startsWith('tool.') && !moment ? audit.action : undefined],
    ['gen_ai.request.model', model],
    ['gen_ai.provider.name', textIn(data, 'provider')],
    ['session.id', textIn(data, 'session_id')],
    ['user.id', textIn(data, 'user_id')],
    ['gen_ai.usage.input_tokens', audit.tokens_input],
    ['gen_ai.usage.output_tokens', audit.tokens_output],
    ['gen_ai.usage.cost', audit.cost_usd],
    ['audit.data', data == null || Object.keys(data).length === 0 ? undefined : JSON.stringify(data)],
    ['error.type', error?.type ?? (audit.status === 'timeout' ? 'timeout' : undefined)],
    ['exception.message', error?.message],
    ['exception.stacktrace', error?.traceback],
    ['audit.error.recoverable', error?.recoverable],
    ['audit.error.input_snapshot', jsonOf(error?.input_snapshot)],
    ['audit.error.environment', jsonOf(error?.environment)],
  ])
}

function jsonOf(value: unknown): string | undefined {
  return value === undefined || value === null ? undefined : JSON.stringify(value)
}
