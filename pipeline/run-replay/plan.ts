import type { RunSteps, Step } from '../runs/steps.ts'
import type { Answer } from './cache-record.ts'
import type { KeptCall } from './cache.ts'
import type { CallRequest } from './request.ts'
import type { Mode, ReplayReport, Restored } from './report.ts'
import type { Snapshot } from './snapshot.ts'

/** A call of the run that is made again. */
export interface PlannedCall {
  readonly run: Pick<RunSteps, 'runId' | 'traceId' | 'tenant'>
  readonly step: Step
  /** From 1. */
  readonly at: number
  /** Undefined: what was asked is not recorded. */
  readonly request: CallRequest | undefined
  /** How many calls of the run before it had the same key. */
  readonly occurrence: number
  readonly masked: boolean
  readonly snapshot: Snapshot
}

export type Reply =
  | { readonly answer: Answer; readonly costUsd?: string | null }
  /** There is none, and why. */
  | { readonly missing: string }

/** Who answers calls when they are made again. Rejects only when the replay as a whole cannot go on. */
export interface Source {
  readonly from: 'cache' | 'model' | 'hook'
  answer(call: PlannedCall, signal: AbortSignal): Promise<Reply> | Reply
}

export interface ReplayPlan {
  readonly run: RunSteps
  readonly kept: readonly KeptCall[]
  readonly mode: Mode
  readonly llm: Source
  readonly tool: Source
  readonly endpoint: ReplayReport['llm']
  readonly restored: readonly Restored[]
  readonly notes: readonly string[]
}
