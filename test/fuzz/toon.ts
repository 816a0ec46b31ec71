import { encode } from '@toon-format/toon'
import { checkEvents, EVENT_LIMITS } from '../../pipeline/agent/check.ts'
import { EventFault } from '../../pipeline/agent/event-fault.ts'
import { eventsOf, type Format } from '../../receivers/toon/body.ts'
import { malformed } from './otlp.ts'
import type { Target } from './target.ts'

const LIMITS = {
  maxDepth: EVENT_LIMITS.maxDepth + 2,
  maxEvents: EVENT_LIMITS.maxEvents,
  maxLine: EVENT_LIMITS.maxEventBytes,
}
const T = '2026-11-21T10:00:00Z'

/** Of every type, with what their payloads may hold and what nobody has asked for. */
export const EVENTS = [
  {
    t: T,
    actor: 'agent',
    type: 'reasoning',
    payload: { thought: 'a, "b": c\n- d', goal: 'g', steps: ['x', 'y'], plan: null },
  },
  {
    seq: 2,
    t: T,
    actor: 'agent',
    type: 'action_request',
    payload: { action: 'search', params: { q: 'é𝄞', n: [1, 2.5, -3e-7] }, rationale: '' },
  },
  {
    t: T,
    actor: 'tool',
    type: 'action_response',
    payload: {
      status: 'error',
      result: {
        rows: [
          { a: 1, b: 'x' },
          { a: 2, b: 'y' },
        ],
      },
      error: 'e',
      latency_ms: 12,
    },
  },
  {
    t: T,
    actor: 'agent',
    type: 'final_output',
    payload: { output: true, summary: 's', confidence: 0.5, extra: { deep: [[[]]] } },
  },
  { t: T, actor: 'system', type: 'error', payload: { error_type: 'E', message: 'm', stack_trace: 'at x' } },
].map((event, n) => ({
  ...event,
  meta: { run_id: `run-${n}`, agent_id: 'a', idempotency_key: `k${n}`, usage: { input_tokens: n } },
}))

const DOCUMENTS: readonly unknown[] = [...EVENTS, EVENTS, { events: EVENTS }, EVENTS.slice(0, 2)]

export const toonJson = target('toon-json', 'json', (value) => JSON.stringify(value))
export const toonNdjson = target('toon-ndjson', 'ndjson', (value) =>
  [value]
    .flat()
    .map((one) => JSON.stringify(one))
    .join('\n'),
)
export const toonText = target('toon-text', 'toon', (value) => encode(value))

function target(name: string, format: Format, write: (value: unknown) => string): Target {
  return {
    name,
    seeds: () => DOCUMENTS.map((value) => Buffer.from(write(value))),
    async run(input) {
      let values: readonly unknown[]
      try {
        values = await eventsOf(input, format, LIMITS)
      } catch (error) {
        if (malformed(error)) return false
        throw error
      }
      return isTaken(values)
    },
  }
}

function isTaken(values: readonly unknown[]): boolean {
  try {
    for (const { payload } of checkEvents(values)) JSON.parse(payload)
    return true
  } catch (error) {
    if (error instanceof EventFault) return false
    throw error
  }
}
