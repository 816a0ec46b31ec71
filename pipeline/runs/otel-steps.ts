import { llmRequestOf, llmResponseOf, toolArgsOf, toolResultOf } from './content.ts'
import { recorded, stepBase } from './recorded.ts'
import type { Recorded, Step } from './steps.ts'
import type { StoredSpan } from './stored-span.ts'

/** A span of an instrumentation as a step; undefined for what is around the calls (agents, chains, HTTP). */
export function otelStep(span: StoredSpan): Step | undefined {
  if (span.modelCall) {
    const request = llmRequestOf(span, span.provider, span.model)
    return {
      kind: 'llm',
      name: span.model,
      ...stepBase(span),
      ...given('input', span, request),
      ...given('output', span, llmResponseOf(span)),
    }
  }
  if (span.operation !== 'execute_tool') return undefined
  return {
    kind: 'tool',
    name: span.tool || span.name.replace(/^execute_tool /, ''),
    ...stepBase(span),
    ...given('input', span, toolArgsOf(span)),
    ...given('output', span, toolResultOf(span)),
  }
}

export function given(
  key: 'input' | 'output',
  span: StoredSpan,
  value: unknown,
): { readonly input?: Recorded; readonly output?: Recorded } {
  return value === undefined ? {} : { [key]: recorded(span, value, key) }
}
