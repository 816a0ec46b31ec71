import type { Archive } from './archive/archive.ts'
import type { AuditCopy } from './audit/copier.ts'
import type { Batch } from './batch/batch.ts'
import type { Admission, Head, Standing } from './admission.ts'
import type { LetterDesk } from './wal/letter-desk.ts'
import type { Consumer, Outcome, Rejection } from './consumer.ts'
import type { LogWorker } from './follower.ts'
import type { ReplaySink } from './replay.ts'
import type { Redactable } from './redact.ts'
import type { Reprice, Repriceable } from './reprice.ts'
import type { Retainable } from './retention.ts'

/**
 * created → start → running → stop. `create` does no I/O. `stop` is idempotent, safe before `start`, and returns
 * by the deadline: stop intake, drain, release.
 */
export interface Component {
  start?(): Promise<void>
  stop?(deadline: AbortSignal): Promise<void>
  /** Reads again what its config names and others replace: certificates. Called on every reload; never throws. */
  refresh?(): Promise<void>
  /** Resolves when the component could work now; throws a Fault otherwise. Feeds `/readyz` and `validate --connect`. */
  probe?(signal: AbortSignal): Promise<void>
  /** Main process: the dead letters that it, or what stands behind it, has left. */
  readonly letterDesk?: LetterDesk
}

export type Receiver = Component

export interface Processor extends Component {
  /** Edits, annotates or drops in place; returns what it rejects (or nothing). Deterministic: see design law 5. */
  process(batch: Batch): Outcome | void | Promise<Outcome | void>
  /** It takes out what must not rest anywhere: receivers have it look at what they keep besides batches (`Entry.redact`). */
  readonly redacts?: boolean
  /** Of one that redacts: its config leaves everything of this tenant as it is. */
  spares?(tenant: string): boolean
  /**
   * Before the WAL: hears what became of each batch that entered the pipeline; undefined: it was refused, or its fate is
   * not known and the sender will repeat it. Does not throw.
   */
  settle?(batch: Batch, outcome: Outcome | undefined): void
  /**
   * Judges a request by its head, before the body is read, knowing what the processors before found out of the sender.
   * Throws a Fault to refuse.
   */
  admit?(head: Head, sender: Standing): Admission | Promise<Admission>
  /**
   * Behind the WAL: reads it ahead of the pipeline's cursors, once per pipeline however many exporters it has, in an
   * instance of the processor of its own.
   */
  readonly ahead?: LogWorker
  /** What it keeps outside of the spans, and deletes when it is over its time. Only in the store process. */
  readonly retainable?: Retainable
  /** Prices stored calls again. Only on the processor that prices, in the store process. */
  readonly reprice?: Reprice
}

/** The frozen composition of one delivery of a cursor. */
export interface FrozenRange {
  /** First and last WAL sequence, inclusive. */
  readonly from: number
  readonly to: number
  /** Stable id of this composition: the insert deduplication token, the object key, … */
  readonly token: string
  /** 0: first try of this range by this cursor. > 0: an earlier try was interrupted or its result is unknown. */
  readonly attempt: number
}

/** One frozen range as an exporter gets it: batches in WAL order, each with `meta.wal` set. */
export interface Delivery {
  /** `<pipeline>/<exporter>`: names the cursor. */
  readonly cursor: string
  readonly range: FrozenRange
  readonly batches: readonly Batch[]
  /** Live spans over all batches at the start of the delivery. */
  readonly spans: number
  /** Of a replay: stable for this one, where `range.token` is that of every replay of the same. */
  readonly replay?: string
}

/** Spans of a delivery that the destination will never take. Row numbers are per batch. */
export interface DeliveryOutcome {
  readonly rejected: readonly { readonly batch: number; readonly rejection: Rejection }[]
  /** Given where the destination may yet lose what it took: the reader asks `recheck` about it later. */
  readonly receipts?: readonly Receipt[]
}

/** What a destination holds of a delivery. Receipts add up. */
export interface Receipt {
  readonly rows: number
  /** XOR over the rows of 64 bits of each row's id, hexadecimal. */
  readonly sum: string
  /** Earliest and latest start of the spans, Unix ms. */
  readonly firstMs: number
  readonly lastMs: number
  /** Rows that were stored only now, where the range had been delivered before. */
  readonly added?: number
}

/** What a destination should hold of the messages `from` to `to`. */
export interface Claim extends Receipt {
  readonly from: number
  readonly to: number
}

export interface Recheck {
  /** How long after a delivery its destination can still lose it. */
  readonly afterMs: number
  holds(claim: Claim, signal: AbortSignal): Promise<boolean>
}

/**
 * Resolves when the destination holds the data. An exporter that can promise "exactly once" implements `deliver`
 * and uses `range.token`; for others the WAL reader calls `consume` per batch.
 * It may `batch.drop(row, 'expired')` what it must not store; the reader counts drops from the batch.
 */
export interface Exporter extends Component, Consumer {
  deliver?(delivery: Delivery, signal: AbortSignal): Promise<DeliveryOutcome>
  /**
   * Tells what is likely to be delivered next, while a delivery is under way: encoding that needs no destination may be
   * done now. The batches may come in other slices, later, or never; they must be left as they are. Throws nothing.
   */
  stage?(batches: readonly Batch[]): void
  /**
   * Copies what it is given: once a delivery has ended, well or by a reject, nobody reads its batches any more, no socket
   * that still writes either, so that their memory may be used again. Absent: it is left to the collector.
   */
  readonly keepsNothing?: true
  /** Asked about the receipts of deliveries. */
  readonly recheck?: Recheck
  /** How the reader should size a range for this exporter (else 8192 spans, 8 MiB, 200 ms). */
  readonly batching?: Batching
  /** Read access to what this exporter has stored (ClickHouse). Only on exporters in the store process. */
  readonly queryable?: Queryable
  /** Keeps a copy of the audit log to be queried. Only on exporters in the store process. */
  readonly auditCopy?: AuditCopy
  /** Can have its stored calls priced again. Only on exporters in the store process. */
  readonly repriceable?: Repriceable
  /** Can have what it stores redacted again. Only on exporters in the store process. */
  readonly redactable?: Redactable
  /** Deletes what is over its time. Only on exporters in the store process. */
  readonly retainable?: Retainable
  /** Knows what it has been given before. Without it a replay delivers again. */
  readonly replay?: ReplaySink
  /** What it has written, to be read again. */
  readonly archive?: Archive
}

export interface Batching {
  readonly maxSpans: number
  readonly maxBytes: number
  /** How long to wait for a fuller range after its first message. */
  readonly maxWaitMs: number
}

/** A server that is not on the data's path. */
export type Extension = Component

export interface QueryRequest {
  /** One SELECT, already checked by the caller's guard. */
  readonly sql: string
  /** Bound as ClickHouse query parameters `{name:Type}`. */
  readonly params: Readonly<Record<string, string | number | boolean | readonly string[]>>
  /** Rows of other tenants are hidden by `additional_table_filters` when set. */
  readonly tenant?: string
  /** A statement of weir itself, such as the API's guard asking ClickHouse's parser: not checked again. Never set from outside. */
  readonly own?: boolean
  readonly maxRows: number
  readonly maxBytes: number
  readonly timeoutMs: number
}

export interface QueryResult {
  readonly columns: readonly { readonly name: string; readonly type: string }[]
  /** Values as JSONCompact gives them: 64-bit integers and decimals as strings. */
  readonly rows: readonly (readonly unknown[])[]
  /** True when `maxRows` or `maxBytes` cut the result. */
  readonly truncated: boolean
  readonly elapsedMs: number
}

export interface Queryable {
  query(request: QueryRequest, signal: AbortSignal): Promise<QueryResult>
}
