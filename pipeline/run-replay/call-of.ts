import { otelStep } from '../runs/otel-steps.ts'
import { REPLAY_KEY } from '../runs/recorded.ts'
import type { LlmRequest, Step } from '../runs/steps.ts'
import type { StoredSpan } from '../runs/stored-span.ts'
import { isToon, toonSteps } from '../runs/toon-steps.ts'
import type { Answer, CachedCall } from './cache-record.ts'
import type { CallRequest } from './request.ts'

/** What one span says of a call, by itself: its request, its answer, or both. */

/** Undefined for a span that asks nobody for anything. */
export function requestOf(span: StoredSpan): CallRequest | undefined {
  const step = stepOf(span)
  return step === undefined ? undefined : requestOfStep(step)
}

/** The request of a step; undefined where it was not a call, or what it asked is not recorded and cannot be told. */
export function requestOfStep(step: Step): CallRequest | undefined {
  if (step.kind === 'tool') {
    return step.input === undefined ? undefined : { kind: 'tool', tool: step.name, args: step.input.value }
  }
  if (!isModelCall(step)) return undefined
  const request = step.input?.value as LlmRequest | undefined
  // What was asked is not known: the call is told by its model and its place among the calls of that model.
  return { kind: 'llm', ...(request ?? { provider: '', model: step.name, params: {} }) }
}

/** A final output that a model was named for is its answer (toon). */
export function isModelCall(step: Step): boolean {
  return step.kind === 'llm' || (step.kind === 'output' && step.name !== '')
}

/** What is kept of the span; undefined where it is of no call that has a key. */
export function cachedCallOf(span: StoredSpan): CachedCall | undefined {
  const step = stepOf(span)
  if (step === undefined || (step.kind !== 'tool' && !isModelCall(step))) return undefined
  const key = span.attributes.get(REPLAY_KEY)
  const type = span.attributes.get('toon.type')
  const isAnswerOnly = type === 'action_response'
  if (key === undefined && !isAnswerOnly) return undefined
  return {
    kind: step.kind === 'tool' ? 'tool' : 'llm',
    span: span.spanId,
    ...(isAnswerOnly && { parent: span.parentId }),
    ...(key !== undefined && { key }),
    ...(step.seq !== undefined && { seq: step.seq }),
    startNs: step.startNs,
    ...(type !== 'action_request' && { answer: answerOf(step) }),
  }
}

/** What came back, as it was recorded. */
export function answerOf(step: Step): Answer {
  return {
    ...(step.output !== undefined && !step.output.moved && { value: step.output.value }),
    status: step.status,
    ...(step.error !== undefined && { error: step.error }),
    durationMs: step.durationMs,
    tokensIn: step.tokensIn,
    tokensOut: step.tokensOut,
  }
}

function stepOf(span: StoredSpan): Step | undefined {
  return isToon(span) ? toonSteps([span])[0] : otelStep(span)
}
