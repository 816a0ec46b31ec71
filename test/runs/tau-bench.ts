import { sharedData } from '../genai/spans.ts'
import { valueOf } from '../../pipeline/runs/canonical.ts'
import type { RunSteps, Step } from '../../pipeline/runs/steps.ts'

/** A trial of tau-bench: what was said, and whether the task was done. */
interface Trial {
  readonly task_id: number
  readonly trial: number
  readonly reward: number
  readonly traj: readonly Message[]
}

interface Message {
  readonly role: string
  readonly content: string | null
  readonly tool_calls?: readonly {
    readonly id: string
    readonly function: { readonly name: string; readonly arguments: string }
  }[]
  readonly tool_call_id?: string
}

export interface TauRun {
  readonly task: number
  readonly steps: RunSteps
}

/** 25 tasks of an airline's agent, each tried four times; undefined where the shared data is absent. */
export function tauRuns(): readonly TauRun[] | undefined {
  const text = sharedData('traces/tau-bench/gpt-4o-airline.json.gz')
  if (text === undefined) return undefined
  const trials = JSON.parse(text) as readonly Trial[]
  return trials.map((trial) => ({ task: trial.task_id, steps: runOf(trial) }))
}

function runOf({ task_id, trial, reward, traj }: Trial): RunSteps {
  const results = new Map(traj.map(({ tool_call_id, content }) => [tool_call_id, content ?? '']))
  const steps = traj.flatMap((message, at): readonly Step[] =>
    message.role !== 'assistant'
      ? []
      : [
          { ...base(at), kind: 'llm', name: 'gpt-4o', operation: 'chat', output: { value: message } },
          ...(message.tool_calls ?? []).map((call): Step => ({
            ...base(at),
            kind: 'tool',
            name: call.function.name,
            input: { value: valueOf(call.function.arguments) },
            output: { value: valueOf(results.get(call.id) ?? '') },
          })),
        ],
  )
  return {
    tenant: 'default',
    project: '',
    runId: `${task_id}/${trial}`,
    traceId: '',
    agent: 'airline',
    settings: {},
    status: reward === 1 ? 'completed' : 'failed',
    startedNs: '0',
    durationMs: traj.length,
    steps,
    output: undefined,
    tokensIn: 0,
    tokensOut: 0,
    costUsd: '0',
    unpriced: 0,
    truncated: false,
  }
}

function base(at: number): Omit<Step, 'kind' | 'name'> {
  return {
    operation: 'execute_tool',
    spanId: String(at),
    status: 'ok',
    startNs: String(at),
    durationMs: 1,
    tokensIn: 0,
    tokensOut: 0,
    costUsd: '0',
    costStatus: 'none',
  }
}
