import type { TextEdits } from '../../proto/otlp/rewrite-texts.ts'
import type { KeyId } from './keys.ts'
import type { SpanFacts } from './facts.ts'

/**
 * Spans as received: OTLP protobuf bytes, an offset table over them, and an overlay of edits and drops.
 * Rows are spans in wire order. Nothing is decoded until asked for; a batch that nobody edited encodes to the very
 * bytes it came from. Users of a batch never see offsets (they live in `proto/`).
 */
export interface Batch {
  readonly meta: BatchMeta
  /** Spans received, dropped ones included. */
  readonly rows: number
  /** Spans not dropped. */
  readonly live: number
  isLive(row: number): boolean
  /** Marks and counts; the first reason given to a row stays. */
  drop(row: number, reason: DropReason): void
  /** Dropped spans by reason. */
  drops(): ReadonlyMap<DropReason, number>

  /** Bytes of the span's message as received, events and links included, resource and scope not. */
  spanSize(row: number): number
  /** 16 bytes, or 0 where the span has none (legal on the wire, judged by receivers). A view: do not keep. */
  traceId(row: number): Uint8Array
  spanId(row: number): Uint8Array
  /** 8 bytes, or 0 for a root. */
  parentSpanId(row: number): Uint8Array
  name(row: number): string
  /** OTLP SpanKind 0..5. */
  kind(row: number): number
  /** Unix ns. */
  startNs(row: number): bigint
  endNs(row: number): bigint
  startMs(row: number): number
  durationNs(row: number): bigint
  /** OTLP StatusCode 0 unset, 1 ok, 2 error. */
  statusCode(row: number): number
  statusMessage(row: number): string
  traceState(row: number): string
  scopeName(row: number): string
  scopeVersion(row: number): string
  setName(row: number, value: string): void
  setTraceState(row: number, value: string): void
  setStatusMessage(row: number, value: string): void

  /** The span's attribute with that key; NONE when absent. Allocates nothing. */
  attr(row: number, key: KeyId): AttrRef
  resourceAttr(row: number, key: KeyId): AttrRef
  /** The same of a resource by its place among the request's, which may have no spans. */
  attrOfResource(resource: number, key: KeyId): AttrRef
  scopeAttr(row: number, key: KeyId): AttrRef
  /**
   * All attributes of a place, as a contiguous range of refs: `for (let r = first; r < end; r++)`. Overlay additions by
   * `set` are not in it, and what `remove` took is still there as an empty value: who writes an edited batch out reads
   * `rawView(batch)`, `encode()` or `toJson()`.
   */
  attrs(row: number, place: 'span' | 'resource' | 'scope'): AttrRange
  key(ref: AttrRef): string
  /** FOREIGN (0) for a key that was not interned (KEY_LIMIT): tell those apart by `key`. */
  keyId(ref: AttrRef): KeyId
  type(ref: AttrRef): AttrType
  /** The string value; '' for another type. Decodes on each call. */
  string(ref: AttrRef): string
  /** The same for values of few kinds (models, providers): one that was met before is not decoded again. */
  word(ref: AttrRef): string
  /** int, double, or a decimal string as a number; NaN for anything else. */
  number(ref: AttrRef): number
  /** The value as the collector's clickhouse exporter writes it (`Value.AsString`): strings as is, numbers, booleans, bytes as base64, lists and maps as JSON. */
  text(ref: AttrRef): string
  /** Bytes of the value on the wire, for size checks. */
  size(ref: AttrRef): number
  /** The content of the value on the wire: UTF-8, bytes, the members of a list or map. A view: do not keep. */
  content(ref: AttrRef): Uint8Array
  /**
   * What takes at least so many bytes (`size`) of the values that came with the batch: of spans that are live, of their
   * events and links, of scopes and resources; in wire order. Looks at lengths only.
   */
  largeValues(bytes: number): readonly AttrRef[]

  /** Adds or replaces a span attribute (overlay; bytes untouched). */
  set(row: number, key: KeyId, value: AttrValue): void
  /** Replaces a value where it stands: span, resource, scope, event or link attribute. */
  setValue(ref: AttrRef, value: AttrValue): void
  remove(row: number, key: KeyId): void
  /**
   * Adds attributes right behind one that came with the batch, wherever it stands, by what is put behind its key. They
   * show in what is written (`encode`, `toJson`, `rawView`, `select`, …) and not in the ranges; a later call replaces them.
   */
  annotate(ref: AttrRef, notes: Notes): void

  events(row: number): EventRange
  eventName(event: number): string
  eventTimeNs(event: number): bigint
  eventAttrs(event: number): AttrRange
  setEventName(event: number, value: string): void
  links(row: number): EventRange
  linkTraceId(link: number): Uint8Array
  linkSpanId(link: number): Uint8Array
  linkTraceState(link: number): string
  linkAttrs(link: number): AttrRange

  /**
   * Rewrites texts where they stand, in every field of every message, unknown ones included, and settles earlier edits.
   * Rows and drops stay; refs and ranges that were read before are void.
   */
  rewriteTexts(edits: TextEdits): void

  /** What weir knows of each span's meaning (operation, model, tokens, cost); undefined until computed. */
  facts: SpanFacts | undefined

  /** OTLP protobuf of the live spans with all edits. The original bytes when nothing was edited or dropped. Facts are not in it. */
  encode(): Uint8Array
  /** OTLP/JSON of the live spans with all edits. */
  toJson(): string
  /** A new batch of only these rows (live ones), same meta, edits applied. For bisecting. */
  select(rows: readonly number[]): Batch
  /**
   * Batches whose encoding is ≤ `maxBytes` each, in row order; itself when it fits. Throws SPAN_TOO_LARGE (reject),
   * naming the limit, for a single span that does not fit with its resource and scope.
   */
  split(maxBytes: number): readonly Batch[]
  /** A copy whose edits and drops do not show in this one; shares the bytes. For fan-out. */
  fork(): Batch
  /**
   * Gives the memory of bytes, table and facts back, for who has the batch alone: but for `meta` and counts, nothing of it, nor of
   * others over the same bytes, may be read afterwards. One that was forked keeps all. Without it they go with the batch.
   */
  release(): void
}

export interface BatchMeta {
  readonly signal: 'traces'
  readonly tenant: string
  readonly project: string
  readonly principal: string
  /** `<receiver id>/<transport>`, e.g. `otlp/grpc`. */
  readonly source: string
  /** Unix ms: the clock of every processor (design law 5). */
  readonly receivedAtMs: number
  /** First 128 bits of SHA-256 over tenant and idempotency key, or over the bytes as received. */
  readonly digest: Uint8Array
  /** The sender was promised all or nothing: when a processor before the WAL rejects a row, no row goes on. */
  readonly whole?: boolean
  /** Before the WAL: the one cursor that reads this batch; a dead letter's. */
  readonly only?: string
  /** Set by the WAL reader: where this batch rests. `row` is the message-wide index of the batch's row 0. */
  readonly wal?: { readonly seq: number; readonly row: number }
}

/** Why a span was left out. Every drop has one; the ledger and `weir_dropped_spans` count by it. */
export type DropReason = 'sampled' | 'invalid' | 'expired' | 'erased' | 'duplicate' | 'rejected' | 'skipped'

/** Index of an attribute in the batch; NONE (-1) when absent. */
export type AttrRef = number & { readonly __attr: unique symbol }
export const NONE = -1 as AttrRef

/** Suffix of a key → value. */
export type Notes = ReadonlyMap<string, AttrValue>

export interface AttrRange {
  readonly first: number
  readonly end: number
}
export type EventRange = AttrRange

/** OTLP AnyValue kinds by their field number in the oneof; 0 is an empty value. */
export const ATTR = {
  empty: 0,
  string: 1,
  bool: 2,
  int: 3,
  double: 4,
  array: 5,
  kvlist: 6,
  bytes: 7,
} as const
export type AttrType = (typeof ATTR)[keyof typeof ATTR]

/** A number is written as an int when it is a safe integer, else as a double; a bigint always as an int. */
export type AttrValue = string | number | bigint | boolean | readonly string[]
