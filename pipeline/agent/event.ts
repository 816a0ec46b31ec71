import { z } from 'zod'
import { parseTime } from './time.ts'

/** A toon event (contract section 5): one step of an agent's run. What becomes of it: spans.ts. */

export const MAX_RUN_ID = 200
const NOT_WHOLE = 'must be Unicode text: it has half a surrogate pair'
/** `Seq` is a UInt32 column. */
export const MAX_SEQ = 0xffff_ffff

const nullable = <S extends z.ZodType>(schema: S) => schema.nullish()
const text = () => nullable(z.string())

/** Hashed as UTF-8, which has no form for half a character: ids that differ in such halves would be one run. */
export const runId = () =>
  z
    .string()
    .min(1)
    .max(MAX_RUN_ID)
    .refine((id) => id.isWellFormed(), NOT_WHOLE)
export const agentId = () =>
  z
    .union([z.string().min(1).max(256), z.number().int().nonnegative()])
    .describe('Name or number of the agent.')

const count = () => nullable(z.number().int().nonnegative())

const usage = z.looseObject({
  input_tokens: count().describe('Tokens read, those from a cache included.'),
  output_tokens: count().describe('Tokens written.'),
  cache_read_input_tokens: count().describe('Of the input tokens, those read from a cache.'),
  cache_write_input_tokens: count().describe('Of the input tokens, those written to a cache.'),
  reasoning_tokens: count().describe('Of the output tokens, those of reasoning.'),
})

const meta = z.looseObject({
  run_id: runId().optional().describe('The run; needed where the path does not name it.'),
  agent_id: agentId().optional(),
  signature: z
    .string()
    .max(1024)
    .optional()
    .describe('HMAC over the canonical JSON of the event without it.'),
  idempotency_key: z
    .string()
    .min(1)
    .max(255)
    .optional()
    .describe('For a request of one event without the header.'),
  request_seq: z
    .number()
    .int()
    .min(0)
    .max(MAX_SEQ)
    .optional()
    .describe('Of an action_response: `seq` of its request; default: the latest that is open.'),
  session_id: text().describe('The conversation that the event belongs to.'),
  user_id: text().describe('Who the agent works for.'),
  model: text().describe('The model that was called for this step; makes the span a model call.'),
  provider: text().describe('Its provider, e.g. `openai`.'),
  usage: nullable(usage).describe('Tokens of that call.'),
})

const ACTORS = ['agent', 'tool', 'user', 'system', 'redteam'] as const
export const EVENT_TYPES = [
  'reasoning',
  'action_request',
  'action_response',
  'final_output',
  'error',
] as const
export type EventType = (typeof EVENT_TYPES)[number]

const payloads = {
  reasoning: z.looseObject({
    thought: text(),
    goal: text(),
    steps: nullable(z.array(z.unknown())),
    plan: nullable(z.unknown()),
  }),
  action_request: z.looseObject({
    action: z.string().min(1).max(256).describe('The tool.'),
    params: nullable(z.unknown()),
    rationale: text(),
  }),
  action_response: z.looseObject({
    status: z.enum(['success', 'error', 'timeout', 'retry']),
    result: nullable(z.unknown()),
    error: nullable(z.unknown()),
    latency_ms: nullable(z.number().nonnegative().max(1e10)),
  }),
  final_output: z.looseObject({
    output: nullable(z.unknown()),
    summary: text(),
    confidence: nullable(z.number()),
  }),
  error: z.looseObject({
    error_type: z.string().min(1).max(256),
    message: text(),
    stack_trace: text(),
  }),
} satisfies Record<EventType, z.ZodType>

function eventOf<T extends EventType>(type: T, payload: (typeof payloads)[T]) {
  return z.strictObject({
    seq: z
      .number()
      .int()
      .min(0)
      .max(MAX_SEQ)
      .optional()
      .describe('Place in the run; absent: the server numbers the event.'),
    t: z
      .string()
      .refine((time) => parseTime(time) !== undefined, 'must be an RFC 3339 time from 1970 to 2261')
      .meta({ format: 'date-time' })
      .describe('When it happened.'),
    actor: z.enum(ACTORS).describe('Who acted.'),
    type: z.literal(type),
    payload,
    meta: meta.optional(),
  })
}

/** Checks only: unknown keys of `payload` and `meta` are kept as they came, so the sender's own object is used on. */
export const toonEvent = z
  .discriminatedUnion('type', [
    eventOf('reasoning', payloads.reasoning),
    eventOf('action_request', payloads.action_request),
    eventOf('action_response', payloads.action_response),
    eventOf('final_output', payloads.final_output),
    eventOf('error', payloads.error),
  ])
  .meta({ id: 'ToonEvent' })

export type ToonEvent = z.output<typeof toonEvent>
