import { z } from 'zod'
import type { Run, RunSpan } from './validator.ts'

/** How configs name steps of runs and agents. */

const TOOL_STEPS: ReadonlySet<string> = new Set(['execute_tool', 'action_request', 'action_response'])

/** A step: `final_output`, `chat`; `tool:search*` for a call by event or span; `*` ends a prefix. */
export function stepPattern() {
  return z
    .string()
    .regex(
      /^(?:[a-z_]+|\*)(?::[^*\s]*\*?)?$/,
      'must be a step such as final_output, chat, tool or tool:search*',
    )
}

/** The name of an agent; `*` ends a prefix. */
export function agentPattern() {
  return z
    .string()
    .min(1)
    .max(256)
    .regex(/^[^*]*\*?$/, 'may have * at its end only')
}

export function fits(pattern: string, text: string): boolean {
  return pattern.endsWith('*') ? text.startsWith(pattern.slice(0, -1)) : text === pattern
}

/** Whether a span is such a step. */
export function isStep(pattern: string, { step, action }: RunSpan): boolean {
  const colon = pattern.indexOf(':')
  const kind = colon < 0 ? pattern : pattern.slice(0, colon)
  const isKind = kind === '*' ? step !== '' : kind === 'tool' ? TOOL_STEPS.has(step) : step === kind
  return isKind && (colon < 0 || (action !== '' && fits(pattern.slice(colon + 1), action)))
}

/** A tool call counted once: the request of an event pair, the span of others. */
export function isCall({ step }: RunSpan): boolean {
  return step === 'action_request' || step === 'execute_tool'
}

/** What happened one after another: events as they are numbered; of spans those without children. */
export function timeline(run: Run): readonly RunSpan[] {
  const events = run.spans.filter(({ seq }) => seq > 0)
  if (events.length > 0) return events
  const parents = new Set(run.spans.map(({ parentId }) => parentId))
  return run.spans.filter(({ spanId }) => !parents.has(spanId))
}
