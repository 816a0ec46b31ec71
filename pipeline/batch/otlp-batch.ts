import { LEAST, POOL } from '../../proto/buffer-pool.ts'
import { fromJson, JsonError } from '../../proto/otlp/from-json.ts'
import { type Changes, onlyRows, rewrite } from '../../proto/otlp/rewrite.ts'
import { rewriteTexts, type TextEdits } from '../../proto/otlp/rewrite-texts.ts'
import { scan } from '../../proto/otlp/scan.ts'
import { TRACE_REQUEST } from '../../proto/otlp/schema.ts'
import type { SpanTable } from '../../proto/otlp/table.ts'
import { toJson } from '../../proto/otlp/to-json.ts'
import { literalContent, literalSize, literalText, literalType } from '../../proto/otlp/values.ts'
import { bufferOf, WireError } from '../../proto/wire.ts'
import { reject } from '../fault.ts'
import {
  ATTR,
  type AttrRef,
  type AttrType,
  type AttrValue,
  type Batch,
  type BatchMeta,
  type DropReason,
  NONE,
  type Notes,
} from './batch.ts'
import { factsOf } from './facts-rows.ts'
import type { SpanFacts } from './facts.ts'
import { type KeyId, keyName, KEYS } from './keys.ts'
import { Overlay } from './overlay.ts'
import { splitRows } from './split.ts'
import { decimal, TableReader } from './table-reader.ts'

/**
 * A batch of the spans in an ExportTraceServiceRequest. Keeps `bytes`: the caller must not change them afterwards.
 * Throws BATCH_MALFORMED (reject) with the offset of the first thing that is wrong.
 */
export function decodeBatch(bytes: Uint8Array, meta: BatchMeta): Batch {
  return new OtlpBatch(bufferOf(bytes), scanned(bytes), meta)
}

/** The same from OTLP/JSON. BATCH_MALFORMED names the path of the field. */
export function decodeJsonBatch(bytes: Uint8Array, meta: BatchMeta): Batch {
  let encoded: Buffer
  try {
    encoded = fromJson(TRACE_REQUEST, bytes)
  } catch (error) {
    if (error instanceof JsonError) throw reject('BATCH_MALFORMED', error.message, { cause: error })
    throw error
  }
  return decodeBatch(encoded, meta)
}

function scanned(bytes: Uint8Array): SpanTable {
  try {
    return scan(bytes, KEYS)
  } catch (error) {
    if (error instanceof WireError) {
      throw reject('BATCH_MALFORMED', `not an ExportTraceServiceRequest: ${error.message}`, { cause: error })
    }
    throw error
  }
}

/** The reader with an overlay of edits and drops over it. */
export class OtlpBatch extends TableReader implements Batch {
  readonly meta: BatchMeta
  facts: SpanFacts | undefined
  /** Absent until the first edit or drop: reading a batch that nobody edited pays one test. */
  overlay: Overlay | undefined
  /** Forks have the same bytes and table. */
  #isShared = false

  constructor(bytes: Buffer, table: SpanTable, meta: BatchMeta) {
    super(bytes, table)
    this.meta = meta
  }

  get live(): number {
    return this.rows - (this.overlay?.dropped ?? 0)
  }

  isLive(row: number): boolean {
    return this.overlay === undefined || this.overlay.keeps(row)
  }

  drop(row: number, reason: DropReason): void {
    this.#edits().drop(row, reason)
  }

  drops(): ReadonlyMap<DropReason, number> {
    return this.overlay?.drops ?? NO_DROPS
  }

  override name(row: number): string {
    return this.overlay?.names.get(row) ?? super.name(row)
  }

  setName(row: number, value: string): void {
    const edits = this.#edits()
    edits.names.set(row, value)
    edits.touchedRows.add(row)
  }

  override statusMessage(row: number): string {
    return this.overlay?.messages.get(row) ?? super.statusMessage(row)
  }

  setStatusMessage(row: number, value: string): void {
    const edits = this.#edits()
    edits.messages.set(row, value)
    edits.touchedRows.add(row)
  }

  override traceState(row: number): string {
    return this.overlay?.traceStates.get(row) ?? super.traceState(row)
  }

  setTraceState(row: number, value: string): void {
    const edits = this.#edits()
    edits.traceStates.set(row, value)
    edits.touchedRows.add(row)
  }

  override eventName(event: number): string {
    return this.overlay?.eventNames.get(event) ?? super.eventName(event)
  }

  setEventName(event: number, value: string): void {
    const edits = this.#edits()
    edits.eventNames.set(event, value)
    edits.touchEvent(event)
  }

  override attr(row: number, key: KeyId): AttrRef {
    let ref = super.attr(row, key)
    const edits = this.overlay
    if (edits === undefined) return ref
    const { end } = this.attrs(row, 'span')
    while (ref !== NONE && edits.removed.has(ref)) ref = this.find(ref + 1, end, key)
    return ref === NONE ? (edits.findAdded(row, key) as AttrRef) : ref
  }

  override key(ref: AttrRef): string {
    const added = this.overlay?.addition(ref)
    return added === undefined ? super.key(ref) : keyName(added.key)
  }

  override keyId(ref: AttrRef): KeyId {
    return this.overlay?.addition(ref)?.key ?? super.keyId(ref)
  }

  override type(ref: AttrRef): AttrType {
    if (this.overlay === undefined) return super.type(ref)
    if (this.overlay.removed.has(ref)) return ATTR.empty
    const edited = this.overlay.current(ref)
    return edited === undefined ? super.type(ref) : literalType(edited)
  }

  override string(ref: AttrRef): string {
    if (this.overlay === undefined) return super.string(ref)
    if (this.overlay.removed.has(ref)) return ''
    const edited = this.overlay.current(ref)
    if (edited === undefined) return super.string(ref)
    return typeof edited === 'string' ? edited : ''
  }

  override word(ref: AttrRef): string {
    return this.overlay === undefined ? super.word(ref) : this.string(ref)
  }

  override number(ref: AttrRef): number {
    if (this.overlay === undefined) return super.number(ref)
    if (this.overlay.removed.has(ref)) return Number.NaN
    const edited = this.overlay.current(ref)
    if (edited === undefined) return super.number(ref)
    if (typeof edited === 'string') return decimal(edited)
    return typeof edited === 'number' || typeof edited === 'bigint' ? Number(edited) : Number.NaN
  }

  override text(ref: AttrRef): string {
    if (this.overlay === undefined) return super.text(ref)
    if (this.overlay.removed.has(ref)) return ''
    const edited = this.overlay.current(ref)
    return edited === undefined ? super.text(ref) : literalText(edited)
  }

  override size(ref: AttrRef): number {
    if (this.overlay === undefined) return super.size(ref)
    if (this.overlay.removed.has(ref)) return 0
    const edited = this.overlay.current(ref)
    return edited === undefined ? super.size(ref) : literalSize(edited)
  }

  override content(ref: AttrRef): Uint8Array {
    const edited = this.overlay?.current(ref)
    if (this.overlay?.removed.has(ref) === true) return NO_CONTENT
    return edited === undefined ? super.content(ref) : literalContent(edited)
  }

  override largeValues(bytes: number): readonly AttrRef[] {
    const found = super.largeValues(bytes)
    const { overlay } = this
    if (overlay === undefined || found.length === 0) return found
    return found.filter((ref) => this.size(ref) >= bytes && overlay.keepsOwner(ref))
  }

  annotate(ref: AttrRef, notes: Notes): void {
    this.#edits().annotate(ref, notes)
  }

  set(row: number, key: KeyId, value: AttrValue): void {
    const ref = this.attr(row, key)
    if (ref !== NONE) this.setValue(ref, value)
    else this.#edits().add(row, key, value)
  }

  setValue(ref: AttrRef, value: AttrValue): void {
    this.#edits().setValue(ref, value)
  }

  remove(row: number, key: KeyId): void {
    const { first, end } = this.attrs(row, 'span')
    for (let ref = this.find(first, end, key); ref !== NONE; ref = this.find(ref + 1, end, key)) {
      this.#edits().remove(ref)
    }
    const added = this.overlay?.findAdded(row, key) ?? NONE
    if (added !== NONE) this.#edits().remove(added)
  }

  rewriteTexts(edits: TextEdits): void {
    const { overlay } = this
    const edited =
      overlay?.isEdited === true ? rewrite(this.bytes, this.table, overlay.withoutDrops()) : this.bytes
    const bytes = rewriteTexts(edited, edits)
    this.table = scanned(bytes)
    this.bytes = bytes
    this.overlay = overlay === undefined || overlay.dropped === 0 ? undefined : overlay.onlyDrops(this.table)
  }

  encode(): Uint8Array {
    return this.isAsReceived ? this.bytes : rewrite(this.bytes, this.table, this.overlay!)
  }

  /** True when nothing was edited or dropped: bytes and table are the whole truth. */
  get isAsReceived(): boolean {
    return this.overlay === undefined || (this.overlay.dropped === 0 && !this.overlay.isEdited)
  }

  toJson(): string {
    return JSON.stringify(toJson(TRACE_REQUEST, this.encode()))
  }

  select(rows: readonly number[]): Batch {
    const wanted = new Uint8Array(this.rows)
    for (const row of rows) if (this.isLive(row)) wanted[row] = 1
    return this.#part((row) => wanted[row] === 1)
  }

  split(maxBytes: number): readonly Batch[] {
    const settled = this.settle()
    if (settled.bytes.length <= maxBytes) return [settled]
    return splitRows(settled.bytes, settled.table, maxBytes).map(([first, end]) =>
      settled.#part((row) => row >= first && row < end),
    )
  }

  fork(): Batch {
    const copy = new OtlpBatch(this.bytes, this.table, this.meta)
    copy.#isShared = this.#isShared = true
    copy.overlay = this.overlay?.copy()
    if (this.facts !== undefined)
      copy.facts = factsOf(
        this.facts,
        this.#rowsWhere(() => true),
      )
    return copy
  }

  release(): void {
    if (this.#isShared) return
    for (const part of [this.bytes, ...Object.values(this.table)]) {
      // Smaller ones lie in memory that others share.
      if (ArrayBuffer.isView(part) && part.byteLength >= LEAST) POOL.give(part.buffer)
    }
    if (this.facts?.memory !== undefined) POOL.give(this.facts.memory)
  }

  /** This batch when nothing was edited or dropped; else a new one of the live rows with the edits in its bytes. */
  settle(): OtlpBatch {
    if (this.isAsReceived) return this
    return this.live === this.rows ? this.#scanned(this.overlay!) : this.#part((row) => this.isLive(row))
  }

  /** The rows that are wanted, and nothing around them that none of these needs. */
  #part(keeps: (row: number) => boolean): OtlpBatch {
    if (this.isAsReceived) return this.#scanned(onlyRows(keeps))
    const overlay = this.overlay!.copy()
    overlay.leavesOut = true
    for (let row = 0; row < this.rows; row++) if (!keeps(row)) overlay.drop(row, 'skipped')
    return this.#scanned(overlay)
  }

  /** A batch of what the changes make of this one. */
  #scanned(changes: Changes): OtlpBatch {
    const bytes = rewrite(this.bytes, this.table, changes)
    const batch = new OtlpBatch(bytes, scanned(bytes), this.meta)
    if (this.facts !== undefined) {
      batch.facts = factsOf(
        this.facts,
        this.#rowsWhere((row) => changes.keeps(row)),
      )
    }
    return batch
  }

  #rowsWhere(keeps: (row: number) => boolean): number[] {
    const rows: number[] = []
    for (let row = 0; row < this.rows; row++) if (keeps(row)) rows.push(row)
    return rows
  }

  #edits(): Overlay {
    return (this.overlay ??= new Overlay(this.table))
  }
}

const NO_CONTENT = new Uint8Array(0)
const NO_DROPS: ReadonlyMap<DropReason, number> = new Map()
