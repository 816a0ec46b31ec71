import canonicalize from 'canonicalize'
import { writeRequest, type Attributes, type SpanFields } from '../../proto/otlp/write.ts'
import { spanIdOf, type RunId } from './ids.ts'
import type { NumberedEvent, OpenRequest } from './number.ts'
import type { ToonEvent } from './event.ts'
import { KNOWN_META } from './meta.ts'

/** Events of a run as spans, in OTLP protobuf (design section 6). */

/** What every span of a run says of it. */
export interface RunLabels {
  readonly agentId?: string | undefined
  readonly agentName?: string | undefined
  readonly agentVersion?: string | undefined
  readonly sessionId?: string | undefined
  readonly userId?: string | undefined
}

/** Events of one run, in order. */
export interface RunEvents {
  readonly run: RunId
  readonly labels: RunLabels
  readonly events: readonly NumberedEvent[]
}

const SCOPE = { name: 'weir.toon', version: '1' }
const KIND_INTERNAL = 1
const STATUS = { unset: 0, ok: 1, error: 2 } as const
const MAX_MESSAGE = 1024

/** The rows are the events, run by run. */
export function eventSpans(runs: readonly RunEvents[]): Buffer {
  const bytes = runs.reduce(
    (sum, { events }) => sum + events.reduce((n, { payload }) => n + payload.length + 768, 0),
    256,
  )
  return writeRequest(
    runs.map(({ run, labels, events }) => {
      const parts: Parts = {
        run,
        trace: Buffer.from(run.trace, 'hex'),
        root: spanIdOf(run, 'root'),
        labels: common(run, labels),
      }
      return {
        resource: resourceOf(labels),
        scope: SCOPE,
        spans: events.map((event) => eventSpan(parts, event)),
      }
    }),
    bytes,
  )
}

/** What the spans of one run share. */
interface Parts {
  readonly run: RunId
  readonly trace: Buffer
  readonly root: Buffer
  readonly labels: Attributes
}

function resourceOf({ agentId, agentName, agentVersion }: RunLabels): Attributes {
  const attributes: [string, string][] = [['service.name', agentName ?? agentId ?? 'agent']]
  if (agentVersion !== undefined) attributes.push(['service.version', agentVersion])
  return attributes
}

function common(run: RunId, labels: RunLabels): Attributes {
  const named: [string, string | undefined][] = [
    ['agent.run.id', run.id],
    ['gen_ai.agent.id', labels.agentId],
    ['gen_ai.agent.name', labels.agentName],
    ['gen_ai.agent.version', labels.agentVersion],
    ['session.id', labels.sessionId],
    ['user.id', labels.userId],
  ]
  return named.filter((entry): entry is [string, string] => entry[1] !== undefined)
}

function eventSpan(parts: Parts, numbered: NumberedEvent): SpanFields {
  const { event, seq, payload, request } = numbered
  const endNs = numbered.atNs
  const latencyMs = latencyOf(event)
  const outcome = outcomeOf(event)
  return {
    traceId: parts.trace,
    spanId: spanIdOf(parts.run, seq),
    parentSpanId: request === undefined ? parts.root : spanIdOf(parts.run, request.seq),
    name: nameOf(event, request?.action),
    kind: KIND_INTERNAL,
    startNs: latencyMs === undefined ? endNs : earlier(endNs, latencyMs),
    endNs,
    attributes: [
      ...labelsFor(parts.labels, event),
      ['toon.seq', seq],
      ['toon.type', event.type],
      ['toon.actor', event.actor],
      ['toon.payload', payload],
      ...meaningOf(event, request?.action),
      ...metaOf(event),
    ],
    ...outcome,
  }
}

function earlier(ns: bigint, ms: number): bigint {
  const start = ns - BigInt(Math.round(ms * 1e6))
  return start < 0n ? 0n : start
}

function latencyOf(event: ToonEvent): number | undefined {
  if (event.type !== 'action_response') return undefined
  return event.payload.latency_ms ?? undefined
}

function nameOf(event: ToonEvent, action: string | undefined): string {
  switch (event.type) {
    case 'action_request':
      return `execute_tool ${event.payload.action}`
    case 'action_response':
      return action === undefined ? 'execute_tool' : `execute_tool ${action}`
    case 'error':
      return `error ${event.payload.error_type}`
    case 'reasoning':
    case 'final_output':
      break
  }
  return event.type
}

function outcomeOf(event: ToonEvent): { readonly statusCode: number; readonly statusMessage?: string } {
  if (event.type === 'error') return failed(event.payload.message ?? event.payload.error_type)
  if (event.type !== 'action_response') return { statusCode: STATUS.unset }
  const { status, error } = event.payload
  if (status === 'success' || status === 'retry') return { statusCode: STATUS.ok }
  return failed(typeof error === 'string' && error !== '' ? error : status)
}

function failed(message: string): { readonly statusCode: number; readonly statusMessage: string } {
  return { statusCode: STATUS.error, statusMessage: message.slice(0, MAX_MESSAGE) }
}

/** Only the response is the tool call (design section 6): a request that named the tool would count as a second one. */
function meaningOf(event: ToonEvent, action: string | undefined): Attributes {
  if (event.type === 'action_request') return [['toon.action', event.payload.action]]
  if (event.type === 'error') return [['error.type', event.payload.error_type]]
  if (event.type !== 'action_response') return modelCall(event)
  const attributes: [string, string | boolean][] = [['gen_ai.operation.name', 'execute_tool']]
  if (action !== undefined) attributes.push(['gen_ai.tool.name', action])
  const { status } = event.payload
  if (status === 'retry') attributes.push(['retry', true])
  if (status === 'error' || status === 'timeout')
    attributes.push(['error.type', status === 'error' ? 'tool_error' : status])
  return attributes
}

const USAGE = [
  ['input_tokens', 'gen_ai.usage.input_tokens'],
  ['output_tokens', 'gen_ai.usage.output_tokens'],
  ['cache_read_input_tokens', 'gen_ai.usage.cache_read.input_tokens'],
  ['cache_write_input_tokens', 'gen_ai.usage.cache_write.input_tokens'],
  ['reasoning_tokens', 'gen_ai.usage.reasoning.output_tokens'],
] as const

function modelCall({ meta }: ToonEvent): Attributes {
  if (!meta?.model) return []
  const attributes: [string, string | number][] = [
    ['gen_ai.operation.name', 'chat'],
    ['gen_ai.request.model', meta.model],
  ]
  if (meta.provider) attributes.push(['gen_ai.provider.name', meta.provider])
  for (const [key, name] of USAGE) {
    const tokens = meta.usage?.[key]
    if (typeof tokens === 'number') attributes.push([name, tokens])
  }
  return attributes
}

/** What the event says itself goes before what its run was started with. */
function labelsFor(labels: Attributes, { meta }: ToonEvent): Attributes {
  if (meta === undefined) return labels
  const own: [string, string][] = []
  if (meta.agent_id !== undefined) own.push(['gen_ai.agent.id', String(meta.agent_id)])
  if (meta.session_id) own.push(['session.id', meta.session_id])
  if (meta.user_id) own.push(['user.id', meta.user_id])
  if (own.length === 0) return labels
  return [...labels.filter(([key]) => own.every(([name]) => name !== key)), ...own]
}

const MODEL_META: ReadonlySet<string> = new Set(['model', 'provider', 'usage'])

function metaOf({ meta, type }: ToonEvent): Attributes {
  if (meta === undefined) return []
  const attributes: [string, string | number | boolean][] = []
  const rest: [string, unknown][] = []
  const isCall = Boolean(meta.model) && (type === 'reasoning' || type === 'final_output')
  for (const key of Object.keys(meta)) {
    if (KNOWN_META.has(key) || (isCall && MODEL_META.has(key))) continue
    const value = meta[key]
    if (key.startsWith('gen_ai.') && isScalar(value)) attributes.push([key, value])
    else rest.push([key, value])
  }
  if (meta.signature !== undefined) attributes.push(['toon.signature', meta.signature])
  if (rest.length > 0) attributes.push(['toon.meta', canonicalize(Object.fromEntries(rest)) ?? ''])
  return attributes
}

function isScalar(value: unknown): value is string | number | boolean {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
}

/** How a run ended. */
export interface RunEnd {
  readonly run: RunId
  readonly labels: RunLabels
  readonly status: 'completed' | 'failed' | 'abandoned'
  readonly message?: string | undefined
  readonly startNs: bigint
  readonly endNs: bigint
  /** Attributes that the run was created with. */
  readonly attributes: Attributes
  /** Requests that nobody has answered. */
  readonly open: readonly OpenRequest[]
  /** The caller's `traceparent`. */
  readonly caller?: { readonly traceId: Uint8Array; readonly spanId: Uint8Array } | undefined
}

/** The root span, and the tool calls that had no response. */
export function endSpans(end: RunEnd): Buffer {
  const { run, labels } = end
  const shared = common(run, labels)
  const traceId = Buffer.from(run.trace, 'hex')
  const root: SpanFields = {
    traceId,
    spanId: spanIdOf(run, 'root'),
    name: `invoke_agent ${labels.agentName ?? labels.agentId ?? ''}`.trimEnd(),
    kind: KIND_INTERNAL,
    startNs: end.startNs,
    endNs: end.endNs,
    attributes: [
      ...shared,
      ['gen_ai.operation.name', 'invoke_agent'],
      ['agent.run.status', end.status],
      ...end.attributes,
    ],
    ...(end.caller && { links: [end.caller] }),
    ...(end.status === 'completed' ? { statusCode: STATUS.ok } : failed(end.message ?? end.status)),
  }
  const unanswered = end.open.map(({ seq, action, atMs }): SpanFields => {
    const startNs = BigInt(Math.max(0, atMs)) * 1_000_000n
    return {
      traceId,
      spanId: spanIdOf(run, `${seq}/unanswered`),
      parentSpanId: spanIdOf(run, seq),
      name: `execute_tool ${action}`,
      kind: KIND_INTERNAL,
      startNs,
      endNs: startNs > end.endNs ? startNs : end.endNs,
      attributes: [
        ...shared,
        ['gen_ai.operation.name', 'execute_tool'],
        ['gen_ai.tool.name', action],
        ['error.type', 'unanswered'],
      ],
      ...failed('the run ended without a response'),
    }
  })
  return writeRequest([{ resource: resourceOf(labels), scope: SCOPE, spans: [root, ...unanswered] }])
}
