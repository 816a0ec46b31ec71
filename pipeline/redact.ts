import type { Batch } from './batch/batch.ts'

/**
 * New redaction rules over what is stored. A store gives back what it holds, the processor that redacts looks at it again,
 * and the store puts what comes out in place of what differs. Spans that differ in nothing are left alone, so that a repeat
 * changes nothing.
 */
export interface RedactRequest {
  /** Spans that started in [fromMs, toMs). */
  readonly fromMs: number
  readonly toMs: number
  readonly tenant?: string | undefined
  /** Only of this run: a run id or a trace id. */
  readonly run?: string | undefined
  readonly dryRun: boolean
}

/** What a store needs of who has it redact. */
export interface RedactWork {
  /** Edits in place. Rejects when it could not check the batch. */
  redact(batch: Batch): Promise<void>
  /** What `save` kept last; undefined at the beginning. */
  readonly checkpoint: unknown
  /** Durable once resolved. What comes after the last one is done again by whoever goes on. */
  save(checkpoint: unknown): Promise<void>
  /** Spans of this trace (lower-case hex) came out differently: awaited before they are replaced, again after a crash. */
  changed(tenant: string, trace: string): Promise<void>
  progress(done: number, total: number): void
}

export interface RedactCount {
  /** Looked at. */
  readonly spans: number
  /** Of these, those that came out differently. */
  readonly changed: number
}

/** The end of time that a store can hold, Unix ms: for requests without an end. */
export const LAST_MS = Date.UTC(2262, 3, 11)

export function sumOf(counts: readonly RedactCount[]): RedactCount {
  return {
    spans: counts.reduce((total, { spans }) => total + spans, 0),
    changed: counts.reduce((total, { changed }) => total + changed, 0),
  }
}

/** A store's side. A span that is replaced is missing for a moment, and never there twice. */
export interface Redactable {
  redact(request: RedactRequest, work: RedactWork, signal: AbortSignal): Promise<RedactCount>
}

/** A processor of an ingest pipeline that redacts, in an instance of the store process. */
export interface StoredRedactor {
  /** The processor's id in the config. */
  readonly id: string
  /** Equal text: the same rules. */
  readonly rules: string
  /** It would change nothing of this tenant's, whatever stands there. */
  spares(tenant: string): boolean
  redact(batch: Batch): Promise<void>
}
