import type { Rung } from './ladder.ts'
import type { Snapshot } from './snapshot.ts'

export const MODES = ['full', 'hybrid', 'verification'] as const
export type Mode = (typeof MODES)[number]

/** What came of a replay: plain JSON. In mode `full` it holds nothing that another replay of the same run would not. */
export interface ReplayReport {
  readonly v: 1
  readonly run_id: string
  readonly trace_id: string
  readonly tenant: string
  readonly agent: string
  readonly mode: Mode
  /** What models were asked through, where any was. */
  readonly llm: { readonly endpoint: string; readonly model: string | null } | null
  /** 0 to 1: exact agreements count whole, minor ones half, of all calls whose answer is recorded. */
  readonly score: number
  readonly counts: Counts
  readonly first_divergence: Divergence | null
  readonly cost: Spent<string | null>
  readonly latency_ms: Spent<number>
  readonly tokens: Spent<number>
  readonly snapshot: Snapshot
  readonly restored: readonly Restored[]
  /** Requests that were sent with what the sanitizer had left of them. */
  readonly masked_requests: number
  readonly steps: readonly ReplayedStep[]
  readonly notes: readonly string[]
  readonly recommendations: readonly string[]
}

interface Spent<T> {
  readonly recorded: T
  readonly replayed: T
}

export interface Counts {
  readonly calls: number
  readonly exact: number
  readonly minor: number
  readonly major: number
  readonly missed: number
  /** Calls of whose answer nothing is recorded: compared with nothing. */
  readonly unrecorded: number
  /** Of these: whose recorded answer was moved out of its span as an artifact. */
  readonly moved: number
  /** Kept answers that no call of the run asked for. */
  readonly unused: number
}

export interface Restored {
  readonly what: 'environment' | 'database'
  readonly reference: string
  readonly done: boolean
}

export interface ReplayedStep {
  /** From 1, over all steps of the run. */
  readonly step: number
  readonly seq: number | null
  readonly kind: 'llm' | 'tool'
  readonly name: string
  readonly span_id: string
  /** null: its answer is not recorded, or was moved to an artifact. */
  readonly agreement: Rung | null
  readonly from: 'cache' | 'model' | 'hook' | null
  readonly field: string | null
  readonly recorded: string | null
  readonly replayed: string | null
  /** Why there was no answer, or why it may differ. */
  readonly cause: string | null
  /** The nearest recorded request, where this one was not found or a model asked for another. */
  readonly nearest: Nearest | null
  readonly masked: boolean
  readonly latency_ms: Spent<number>
  readonly tokens: Spent<number>
  readonly cost_usd: Spent<string | null>
}

export interface Nearest {
  readonly agreement: Rung
  readonly step: number | null
  readonly span_id: string | null
  readonly field: string | null
  readonly asked: string | null
  readonly recorded: string | null
}

export interface Divergence {
  readonly step: number
  readonly seq: number | null
  readonly kind: 'llm' | 'tool'
  readonly name: string
  readonly span_id: string
  readonly agreement: Rung
  readonly field: string | null
  readonly recorded: string | null
  readonly replayed: string | null
  readonly cause: string
}
