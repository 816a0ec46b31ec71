import { canonical, valueOf } from '../runs/canonical.ts'
import type { LlmRequest } from '../runs/steps.ts'

/**
 * Requests in the form that they are recognised by: canonical JSON (RFC 8785) of
 *   {kind: "llm", provider, model, system, messages, tools, params}   or   {kind: "tool", tool, args}
 * without what differs from call to call and means nothing: ids and times of messages, ids of requests, who asked.
 * What a tool is given is left whole: an `id` there is what is asked for.
 */

const VOLATILE: ReadonlySet<string> = new Set([
  'id',
  'call_id',
  'tool_call_id',
  'toolCallId',
  'tool_use_id',
  'item_id',
  'message_id',
  'request_id',
  'requestId',
  'response_id',
  'previous_response_id',
  'conversation_id',
  'run_id',
  'trace_id',
  'idempotency_key',
  'timestamp',
  'created',
  'created_at',
  'createdAt',
  'date',
  'time',
])
const VOLATILE_PARAMS: ReadonlySet<string> = new Set([
  'user',
  'metadata',
  'stream',
  'stream_options',
  'store',
  'timeout',
  'request_id',
  'safety_identifier',
  'prompt_cache_key',
])
/** Below these is somebody else's data. */
const OPAQUE: ReadonlySet<string> = new Set([
  'arguments',
  'args',
  'input',
  'result',
  'response',
  'output',
  'parameters',
  'schema',
  'input_schema',
  'json_schema',
])

export type CallRequest =
  | ({ readonly kind: 'llm' } & LlmRequest)
  | { readonly kind: 'tool'; readonly tool: string; readonly args: unknown }

/** What is compared and hashed. */
export function essenceOf(request: CallRequest): unknown {
  if (request.kind === 'tool') return { kind: 'tool', tool: request.tool, args: parsed(request.args) ?? {} }
  const { provider, model, system, messages, tools, params } = request
  const kept = Object.entries(params).filter(([key]) => !VOLATILE_PARAMS.has(key))
  return {
    kind: 'llm',
    provider,
    model,
    ...(system !== undefined && { system: essential(system) }),
    ...(messages !== undefined && { messages: essential(messages) }),
    ...(tools !== undefined && { tools: essential(tools) }),
    params: Object.fromEntries(kept),
  }
}

/** What is hashed of a request. */
export function canonicalRequest(request: CallRequest): string {
  return canonical(essenceOf(request))
}

/** An answer, or a message, without what differs from call to call. */
export function essential(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(essential)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, item]) => {
      // Some conventions keep keys flat: `tool_calls.0.id`.
      const last = key.slice(key.lastIndexOf('.') + 1)
      if (VOLATILE.has(last)) return []
      return [[key, OPAQUE.has(last) ? parsed(item) : essential(item)] as const]
    }),
  )
}

/** Arguments come as JSON texts and as values. */
function parsed(value: unknown): unknown {
  return typeof value === 'string' ? valueOf(value) : value
}
