import type { LlmRequest, RunSteps } from '../runs/steps.ts'
import { isModelCall } from './call-of.ts'

/** What a run must be given to run again as it did: read from its own spans, so that it lives and goes with them. */
export interface Snapshot {
  readonly seed: number | null
  readonly models: readonly string[]
  readonly provider: string | null
  /** temperature, top_p, max_tokens, …, as the run was started with. */
  readonly sampling: Readonly<Record<string, string>>
  readonly environment_snapshot_id: string | null
  readonly db_snapshot_id: string | null
  readonly db_snapshot_url: string | null
  /** Whether every call that has an answer has it in the cache, too. */
  readonly llm_responses_cached: boolean
  readonly tool_responses_cached: boolean
}

const REQUEST = 'gen_ai.request.'
const METADATA = 'agent.run.metadata.'
const NOT_SAMPLING: ReadonlySet<string> = new Set(['seed', 'model'])

/** `isKept`: whether the answer of a step's call is in the cache. */
export function snapshotOf(run: RunSteps, isKept: (spanId: string) => boolean): Snapshot {
  const { settings, steps } = run
  const calls = steps.filter((step) => isModelCall(step))
  const requests = calls.flatMap(({ input }) => (input === undefined ? [] : [input.value as LlmRequest]))
  const models = new Set(calls.map(({ name }) => name).filter((name) => name !== ''))
  const asked = Object.entries(settings).filter(([key]) => key.startsWith(REQUEST))
  const sampling = asked
    .map(([key, value]) => [key.slice(REQUEST.length), value] as const)
    .filter(([key]) => !NOT_SAMPLING.has(key))
  const reference = (name: string): string | null => settings[`${METADATA}${name}`] ?? null
  const tools = steps.filter(({ kind }) => kind === 'tool')
  const areKept = (all: RunSteps['steps']): boolean =>
    all.length > 0 && all.every(({ spanId, requestSpanId = spanId }) => isKept(requestSpanId))
  return {
    seed: numberOf(settings[`${REQUEST}seed`]) ?? numberOf(requests[0]?.params['seed']),
    models: [...models].sort(),
    provider: settings['gen_ai.provider.name'] ?? requests[0]?.provider ?? null,
    sampling: Object.fromEntries(sampling),
    environment_snapshot_id: reference('environment_snapshot_id'),
    db_snapshot_id: reference('db_snapshot_id'),
    db_snapshot_url: reference('db_snapshot_url'),
    llm_responses_cached: areKept(calls),
    tool_responses_cached: areKept(tools),
  }
}

function numberOf(value: unknown): number | null {
  const number = typeof value === 'string' && value !== '' ? Number(value) : value
  return typeof number === 'number' && Number.isFinite(number) ? number : null
}
