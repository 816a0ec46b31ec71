import { EVENT_TYPES } from '../agent/event.ts'
import { asObject, own, type JsonObject } from '../genai/json.ts'
import { valueOf } from './canonical.ts'
import { llmRequestOf, llmResponseOf } from './content.ts'
import { given } from './otel-steps.ts'
import { requestParams } from './params.ts'
import { MOVED_PAYLOAD, recorded, replayKeyOf, stepBase } from './recorded.ts'
import type { LlmRequest, Step } from './steps.ts'
import type { StoredSpan } from './stored-span.ts'

/** Events of a run (contract section 5) as steps: a response and its request are one. */

const TYPE = 'toon.type'

const TYPES: ReadonlySet<string | undefined> = new Set(EVENT_TYPES)

/** True for the spans of a run's tool calls that nobody has answered, too: written when it ended. */
export function isToon(span: StoredSpan): boolean {
  return TYPES.has(span.attributes.get(TYPE)) || span.attributes.get('error.type') === 'unanswered'
}

export function toonSteps(spans: readonly StoredSpan[]): readonly Step[] {
  const requests = new Map<string, StoredSpan>()
  for (const span of spans)
    if (span.attributes.get(TYPE) === 'action_request') requests.set(span.spanId, span)
  const answered = new Set<string>()
  const steps: Step[] = []
  for (const span of spans) {
    if (!isToon(span) || requests.has(span.spanId)) continue
    const request = requests.get(span.parentId)
    if (request !== undefined) answered.add(request.spanId)
    steps.push(stepOf(span, request))
  }
  for (const request of requests.values()) if (!answered.has(request.spanId)) steps.push(open(request))
  return steps
}

const STEPS: Readonly<Record<string, (span: StoredSpan, payload: JsonObject) => Step>> = {
  reasoning: thought,
  final_output: (span, payload) => ({
    ...modelStep(span, payload),
    kind: 'output',
    ...given('output', span, handedOver(payload)),
  }),
  error: (span, payload) => ({
    kind: 'error',
    name: text(payload, 'error_type'),
    ...numbered(span),
    ...given('output', span, payload),
  }),
}

function stepOf(span: StoredSpan, request: StoredSpan | undefined): Step {
  const payload = payloadOf(span)
  const type = span.attributes.get(TYPE) ?? ''
  const make = Object.hasOwn(STEPS, type) ? STEPS[type] : undefined
  return make?.(span, payload) ?? toolStep(span, payload, request)
}

function toolStep(span: StoredSpan, payload: JsonObject, request: StoredSpan | undefined): Step {
  const failed = own(payload, 'error')
  const result = failed ?? own(payload, 'result') ?? previewOf(span)
  return {
    kind: 'tool',
    name: span.tool,
    ...numbered(span),
    ...(request === undefined ? {} : asked(request)),
    ...given('output', span, result ?? undefined),
  }
}

/** Nobody has answered it yet. */
function open(request: StoredSpan): Step {
  const action = request.attributes.get('toon.action') ?? ''
  return { kind: 'tool', name: action, ...numbered(request), operation: 'execute_tool', ...asked(request) }
}

function asked(request: StoredSpan): Pick<Step, 'input' | 'requestSpanId' | 'seq' | 'replayKey'> {
  const params = own(payloadOf(request), 'params') ?? previewOf(request)
  const seq = seqOf(request)
  return {
    requestSpanId: request.spanId,
    ...(seq !== undefined && { seq }),
    ...replayKeyOf(request),
    input: recorded(request, params ?? {}, 'input'),
  }
}

function thought(span: StoredSpan, payload: JsonObject): Step {
  if (span.modelCall) return modelStep(span, payload)
  return { kind: 'reasoning', name: '', ...numbered(span), ...given('output', span, payload) }
}

function modelStep(span: StoredSpan, payload: JsonObject): Step {
  return {
    kind: 'llm',
    name: span.model,
    ...numbered(span),
    ...given('input', span, span.modelCall ? requestOf(span, payload) : undefined),
    ...given('output', span, llmResponseOf(span) ?? withoutRequest(payload)),
  }
}

/** Where an event says what the model was asked: in `payload`, or else in `meta`. */
const REQUEST_KEYS = ['messages', 'prompt', 'input', 'system', 'tools', 'params'] as const
const ASKED_BY = ['messages', 'prompt', 'input'] as const

function requestOf(span: StoredSpan, payload: JsonObject): LlmRequest | undefined {
  const known = llmRequestOf(span, span.provider, span.model)
  if (known !== undefined) return known
  const meta = asObject(valueOf(span.attributes.get('toon.meta') ?? ''))
  const of = (key: string): unknown => own(payload, key) ?? own(meta, key) ?? undefined
  const messages = ASKED_BY.map(of).find((value) => value !== undefined)
  if (messages === undefined) return undefined
  const system = of('system')
  const tools = of('tools')
  return {
    provider: span.provider,
    model: span.model,
    ...(system !== undefined && { system }),
    messages,
    ...(tools !== undefined && { tools }),
    params: { ...requestParams(span), ...asObject(of('params')) },
  }
}

function withoutRequest(payload: JsonObject): JsonObject {
  return Object.fromEntries(
    Object.entries(payload).filter(([key]) => !(REQUEST_KEYS as readonly string[]).includes(key)),
  )
}

/** A final output is what it hands over: the rest of the payload (summary, confidence) only where that is all there is. */
function handedOver(payload: JsonObject): unknown {
  return own(payload, 'output') ?? withoutRequest(payload)
}

function numbered(span: StoredSpan) {
  const seq = seqOf(span)
  return { ...stepBase(span), ...(seq !== undefined && { seq }) }
}

function seqOf(span: StoredSpan): number | undefined {
  const seq = Number(span.attributes.get('toon.seq') ?? Number.NaN)
  return Number.isSafeInteger(seq) ? seq : undefined
}

const PAYLOAD = 'toon.payload'

function payloadOf(span: StoredSpan): JsonObject {
  const value = valueOf(span.attributes.get(PAYLOAD) ?? '')
  return asObject(value) ?? (value === '' ? {} : { text: value })
}

/** What is left of a payload that was moved out of its span: its beginning, which is no JSON any more. */
function previewOf(span: StoredSpan): string | undefined {
  return span.attributes.has(MOVED_PAYLOAD) ? span.attributes.get(PAYLOAD) : undefined
}

function text(payload: JsonObject, key: string): string {
  const value = own(payload, key)
  return typeof value === 'string' ? value : ''
}
