import type { RunSteps } from '../../runs/steps.ts'
import type { PlannedCall, Reply, Source } from '../plan.ts'
import type { Restored } from '../report.ts'
import type { Snapshot } from '../snapshot.ts'
import { callHook, toolAnswer, type Hook } from './hooks.ts'

/** Calls tools again. */
export class HookSource implements Source {
  readonly from = 'hook'
  readonly #hooks: Readonly<Record<string, Hook>>

  /** By tool; `*` for the others. */
  constructor(hooks: Readonly<Record<string, Hook>>) {
    this.#hooks = hooks
  }

  async answer(call: PlannedCall, signal: AbortSignal): Promise<Reply> {
    const { step, request, run, occurrence } = call
    const hook = Object.hasOwn(this.#hooks, step.name) ? this.#hooks[step.name] : this.#hooks['*']
    if (hook === undefined) return { missing: `no hook is configured for the tool ${step.name}` }
    if (request?.kind !== 'tool') return { missing: 'what the tool was given is not recorded' }
    const began = performance.now()
    const input = {
      type: 'tool',
      run_id: run.runId,
      trace_id: run.traceId,
      tenant: run.tenant,
      seq: step.seq ?? null,
      tool: step.name,
      arguments: request.args,
      occurrence,
    }
    const answer = await callHook(hook, input, signal)
    if ('failed' in answer) return { missing: answer.failed }
    const { status, value } = toolAnswer(answer.value)
    return {
      answer: { value, status, durationMs: performance.now() - began, tokensIn: 0, tokensOut: 0 },
    }
  }
}

export interface RestoreHooks {
  readonly environment?: Hook | undefined
  readonly database?: Hook | undefined
}

/** Has the snapshots that the run names restored; what fails is told, and the replay goes on. */
export async function restore(
  hooks: RestoreHooks,
  run: Pick<RunSteps, 'runId' | 'traceId' | 'tenant'>,
  snapshot: Snapshot,
  signal: AbortSignal,
): Promise<{ readonly restored: readonly Restored[]; readonly notes: readonly string[] }> {
  const wanted = [
    { what: 'environment', reference: snapshot.environment_snapshot_id },
    { what: 'database', reference: snapshot.db_snapshot_id ?? snapshot.db_snapshot_url },
  ] as const
  const restored: Restored[] = []
  const notes: string[] = []
  for (const { what, reference } of wanted) {
    if (reference === null) continue
    const hook = hooks[what]
    const input = {
      type: 'restore',
      what,
      run_id: run.runId,
      trace_id: run.traceId,
      tenant: run.tenant,
      seed: snapshot.seed,
      environment_snapshot_id: snapshot.environment_snapshot_id,
      db_snapshot_id: snapshot.db_snapshot_id,
      db_snapshot_url: snapshot.db_snapshot_url,
    }
    const answer = hook === undefined ? undefined : await callHook(hook, input, signal)
    const done = answer !== undefined && 'value' in answer
    restored.push({ what, reference, done })
    if (answer !== undefined && 'failed' in answer)
      notes.push(`the ${what} was not restored: ${answer.failed}`)
  }
  return { restored, notes }
}
