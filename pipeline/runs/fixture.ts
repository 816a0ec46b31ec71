import { reject } from '../fault.ts'
import { fingerprint } from './canonical.ts'
import { isRedacted } from './diff/masked.ts'
import type { RunSteps, Step } from './steps.ts'

/** What was recorded of a run as a test fixture: inputs and outputs up to an error, or to the end. Documented in docs of the API. */
export interface Fixture {
  /** Version of this form. */
  readonly weir_fixture: 1
  readonly of: 'error' | 'success'
  readonly source: {
    readonly tenant: string
    readonly run_id: string
    readonly trace_id: string
    readonly agent: string
    readonly status: string
    readonly started: string
  }
  readonly settings: Readonly<Record<string, string>>
  readonly steps: readonly FixtureStep[]
  readonly expect: {
    readonly status: string
    /** Of an error: index of the step that failed, and how. */
    readonly failed_step?: number
    readonly error?: string
    readonly output?: unknown
  }
  /** Something was taken out by redaction: such values are those of the store, not those of the run. */
  readonly redacted: boolean
}

interface FixtureStep {
  readonly kind: Step['kind']
  readonly name: string
  readonly operation?: string
  /** A stub finds the answer by these: SHA-256 of the canonical JSON of [kind, name, input], and which call of that key it is. */
  readonly key: string
  readonly occurrence: number
  readonly input?: unknown
  readonly output?: unknown
  readonly status: string
  readonly error?: string
  readonly finish_reason?: string
}

/** `of` undefined: an error where the run has failed, else a success. CONFLICT where the run has no such thing. */
export function fixtureOf(run: RunSteps, of: Fixture['of'] | undefined): Fixture {
  if (run.truncated) throw reject('REQUEST_INVALID', `run ${run.runId} is too long for a fixture`)
  const failedAt = run.steps.findLastIndex((step) => step.status === 'error' || step.kind === 'error')
  const kind = of ?? (run.status === 'completed' ? 'success' : 'error')
  if (kind === 'error' && failedAt < 0) {
    throw reject(
      'CONFLICT',
      run.status === 'completed'
        ? `no step of run ${run.runId} failed: ask for the success`
        : `no step of run ${run.runId} has an error, though its status is ${run.status}: there is nothing to make a fixture of`,
    )
  }
  if (kind === 'success' && run.status !== 'completed') {
    throw reject('CONFLICT', `run ${run.runId} is no success: its status is ${run.status}`)
  }
  const steps = kind === 'error' ? run.steps.slice(0, failedAt + 1) : run.steps
  const { tenant, runId, traceId, agent, status, startedNs, settings } = run
  const started = new Date(Number(BigInt(startedNs) / 1_000_000n)).toISOString()
  return {
    weir_fixture: 1,
    of: kind,
    source: { tenant, run_id: runId, trace_id: traceId, agent, status, started },
    settings,
    steps: fixtureSteps(steps),
    expect: kind === 'error' ? expectedError(run, failedAt) : { status, output: run.output?.value ?? null },
    redacted: steps.some(({ input, output }) => isRedacted(JSON.stringify([input?.value, output?.value]))),
  }
}

function expectedError({ status, steps }: RunSteps, at: number): Fixture['expect'] {
  const step = steps[at]
  return {
    status,
    failed_step: at,
    error: step?.error || step?.name || 'error',
    ...(step?.output !== undefined && { output: step.output.value }),
  }
}

function fixtureSteps(steps: readonly Step[]): readonly FixtureStep[] {
  const seen = new Map<string, number>()
  return steps.map((step) => {
    const { kind, name, operation, input, output, status, error, finishReason } = step
    const key = fingerprint([kind, name, input?.value ?? null])
    const occurrence = (seen.get(key) ?? 0) + 1
    seen.set(key, occurrence)
    return {
      kind,
      name,
      ...(operation !== '' && { operation }),
      key,
      occurrence,
      ...(input !== undefined && { input: input.value }),
      ...(output !== undefined && { output: output.value }),
      status,
      ...(error !== undefined && error !== '' && { error }),
      ...(finishReason !== undefined && { finish_reason: finishReason }),
    }
  })
}
