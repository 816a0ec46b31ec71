import type { z } from 'zod'
import type { Batch } from '../../pipeline/batch/batch.ts'

/**
 * A validator is a folder `processors/validators/<name>/` with its config (`config.ts`), its factory (`factory.ts`) and its code
 * (`validator.ts`), and one line in `processors/validators/index.ts`. It says what it found; thresholds, tenants,
 * annotation, verdicts and metrics are not its business. It is deterministic, keeps nothing between calls, and its
 * clock is in what it is given.
 */
export interface ValidatorFactory<S extends z.ZodObject = z.ZodObject> {
  /** Its key in the config, and `<name>` of its verdicts, `validate <name>`: lower_snake_case. */
  readonly type: string
  /** One line, for the docs. */
  readonly summary: string
  /** Strict, every key with a default and a description: `{}` is valid. The key `enabled` is added to it. */
  readonly config: S
  /** Imports its code; a schema is read oftener than validators run. */
  load(): Promise<ValidatorMaker<S>>
}

interface ValidatorMaker<S extends z.ZodObject> {
  /** Once per tenant that has a block of its own, once for all others. No I/O. */
  create(config: z.output<S>): Validator
}

/** A validator whose code is here. */
export interface LoadedValidator extends ValidatorMaker<z.ZodObject> {
  readonly type: string
}

/** One method per phase that it takes part in. None throws for what data holds: what cannot be read counts as absent. */
export interface Validator {
  /**
   * Ingestion, before the data is stored: the live rows of one batch of one tenant. On the hot path: a span that needs
   * no look costs a table lookup or two (`batch.attr` allocates nothing) or a prefilter over bytes (`rawView`).
   */
  judge?(batch: Batch, report: ReportRow): void
  /** Post-run: a run that ended or went silent, whole, as the WAL has it. */
  judgeRun?(run: Run, report: ReportSpan): void
  /** Batch: what ended in one interval, all runs of one tenant, in order of their ends. */
  judgeRuns?(runs: readonly RunSummary[], report: ReportRun): void
}

/** From harmless to grave. */
export const SEVERITIES = ['INFO', 'WARNING', 'ERROR', 'CRITICAL'] as const
export type Severity = (typeof SEVERITIES)[number]

export interface Finding {
  /** Stable, lower_snake_case; from the config where users write rules. It is told to senders. */
  readonly rule: string
  readonly severity: Severity
  /** What is wrong and where, for people: names of fields and figures, never a text that a span holds. */
  readonly message: string
}

export type ReportRow = (row: number, finding: Finding) => void
/** Without a span it is about the run. */
export type ReportSpan = (finding: Finding, span?: RunSpan) => void
export type ReportRun = (run: RunSummary, finding: Finding) => void

/** A run is a trace of one tenant: of events with a run id, or of spans where an agent or a model took part. */
export interface Run {
  readonly tenant: string
  readonly project: string
  /** 32 hex digits. */
  readonly traceId: string
  /** As its sender wrote it; '' for a trace without one. */
  readonly runId: string
  readonly agent: string
  readonly status: RunEndStatus
  /** The WAL's time when the run was taken for ended, Unix ms. */
  readonly atMs: number
  /** In order: by `seq` where both have one, else by start; verdicts are not among them. */
  readonly spans: readonly RunSpan[]
}

/** `idle`: nothing came for the idle time, and nobody said that it ended. */
export type RunEndStatus = 'completed' | 'failed' | 'abandoned' | 'idle'

/** One span of a run: what most rules ask for, and the row that has the rest. */
export interface RunSpan {
  readonly batch: Batch
  readonly row: number
  /** 16 hex digits. */
  readonly spanId: string
  /** '' for a root. */
  readonly parentId: string
  readonly name: string
  readonly startMs: number
  readonly endMs: number
  /** OTLP StatusCode 0 unset, 1 ok, 2 error. */
  readonly statusCode: number
  /**
   * What kind of step it is: `reasoning`, `action_request`, `action_response`, `final_output`, `error` of events, else
   * the GenAI operation (`chat`, `execute_tool`, `invoke_agent`, …); '' when neither is known.
   */
  readonly step: string
  /** The action or tool; '' when the step has none. */
  readonly action: string
  /** 0 without one. */
  readonly seq: number
}

/** What is remembered of a run for the batch phase. */
export interface RunSummary {
  readonly tenant: string
  readonly project: string
  readonly traceId: string
  readonly runId: string
  readonly agent: string
  readonly status: RunEndStatus
  readonly startMs: number
  readonly endMs: number
  readonly spans: number
  readonly errors: number
  /** By step; of the first 64 kinds whose names are no longer than 64 characters. */
  readonly steps: Readonly<Record<string, number>>
}
