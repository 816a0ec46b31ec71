import { ATTR_AT, EVENT, LINK, RESOURCE, SCOPE, SPAN, type SpanTable } from '../../proto/otlp/table.ts'
import type { Changes } from '../../proto/otlp/rewrite.ts'
import type { AttrValue, DropReason, Notes } from './batch.ts'
import { type KeyId, keyName } from './keys.ts'

/** A span attribute that `set` added: its ref is the table's attribute count plus its index. */
export interface Added {
  readonly row: number
  readonly key: KeyId
  value: AttrValue
  removed: boolean
}

const NO_INDEXES: readonly number[] = []

/** Edits and drops over a table that stays as it is. Made at the first edit; empty batches of edits have none. */
export class Overlay implements Changes {
  readonly table: SpanTable
  readonly reasons: (DropReason | undefined)[] = []
  readonly drops = new Map<DropReason, number>()
  readonly values = new Map<number, AttrValue>()
  readonly removed = new Set<number>()
  readonly additions: Added[] = []
  /** row → indexes into `additions`. */
  readonly addedTo = new Map<number, number[]>()
  readonly notes = new Map<number, Notes>()
  readonly names = new Map<number, string>()
  readonly traceStates = new Map<number, string>()
  readonly messages = new Map<number, string>()
  readonly eventNames = new Map<number, string>()
  readonly touchedRows = new Set<number>()
  readonly touchedScopes = new Set<number>()
  readonly touchedResources = new Set<number>()
  dropped = 0
  leavesOut = false
  /** Refs from here on are additions. */
  readonly firstAdded: number

  constructor(table: SpanTable) {
    this.table = table
    this.firstAdded = table.attrs.length / ATTR_AT.width
  }

  get isEdited(): boolean {
    return this.touchedRows.size + this.touchedScopes.size + this.touchedResources.size > 0
  }

  copy(): Overlay {
    const copy = new Overlay(this.table)
    copy.reasons.push(...this.reasons)
    copy.dropped = this.dropped
    copy.leavesOut = this.leavesOut
    for (const [reason, count] of this.drops) copy.drops.set(reason, count)
    for (const [ref, value] of this.values) copy.values.set(ref, value)
    for (const ref of this.removed) copy.removed.add(ref)
    for (const added of this.additions) copy.additions.push({ ...added })
    for (const [row, list] of this.addedTo) copy.addedTo.set(row, [...list])
    for (const [ref, notes] of this.notes) copy.notes.set(ref, notes)
    for (const [row, name] of this.names) copy.names.set(row, name)
    for (const [row, text] of this.traceStates) copy.traceStates.set(row, text)
    for (const [row, text] of this.messages) copy.messages.set(row, text)
    for (const [event, name] of this.eventNames) copy.eventNames.set(event, name)
    for (const row of this.touchedRows) copy.touchedRows.add(row)
    for (const scope of this.touchedScopes) copy.touchedScopes.add(scope)
    for (const resource of this.touchedResources) copy.touchedResources.add(resource)
    return copy
  }

  /** The edits alone: every row is kept. */
  withoutDrops(): Overlay {
    const copy = this.copy()
    copy.reasons.length = 0
    copy.drops.clear()
    copy.dropped = 0
    copy.leavesOut = false
    return copy
  }

  /** The drops alone, over a table of the same rows. */
  onlyDrops(table: SpanTable): Overlay {
    const copy = new Overlay(table)
    copy.reasons.push(...this.reasons)
    copy.dropped = this.dropped
    copy.leavesOut = this.leavesOut
    for (const [reason, count] of this.drops) copy.drops.set(reason, count)
    return copy
  }

  drop(row: number, reason: DropReason): void {
    if (this.reasons[row] !== undefined) return
    this.reasons[row] = reason
    this.dropped++
    this.leavesOut = true
    this.drops.set(reason, (this.drops.get(reason) ?? 0) + 1)
  }

  /** Marks the owner of an attribute of the table as changed. */
  touchOwner(ref: number): void {
    const row = this.#rowOf(ref)
    if (row >= 0) {
      this.touchedRows.add(row)
      return
    }
    const scope = this.#lastFrom(this.table.scopes, SCOPE.width, SCOPE.firstAttr, ref)
    if (scope >= 0 && ref < this.table.scopes[scope * SCOPE.width + SCOPE.endAttr]!) {
      this.touchedScopes.add(scope)
      return
    }
    this.touchedResources.add(this.#lastFrom(this.table.resources, RESOURCE.width, RESOURCE.firstAttr, ref))
  }

  /** False for an attribute of the table that a dropped span, or an event or link of it, has. */
  keepsOwner(ref: number): boolean {
    const row = this.#rowOf(ref)
    return row < 0 || this.keeps(row)
  }

  /** The row of the span, event or link that has the attribute; -1 where a scope or resource has it. */
  #rowOf(ref: number): number {
    const row = this.#lastFrom(this.table.spans, SPAN.width, SPAN.firstAttr, ref)
    return row >= 0 && ref < endOfSpan(this.table, row) ? row : -1
  }

  setValue(ref: number, value: AttrValue): void {
    const added = this.addition(ref)
    if (added !== undefined) {
      added.value = value
      return
    }
    this.removed.delete(ref)
    this.values.set(ref, value)
    this.touchOwner(ref)
  }

  annotate(ref: number, notes: Notes): void {
    this.notes.set(ref, notes)
    this.touchOwner(ref)
  }

  add(row: number, key: KeyId, value: AttrValue): void {
    const index = this.additions.push({ row, key, value, removed: false }) - 1
    const known = this.addedTo.get(row)
    if (known === undefined) this.addedTo.set(row, [index])
    else known.push(index)
    this.touchedRows.add(row)
  }

  remove(ref: number): void {
    const added = this.addition(ref)
    if (added !== undefined) added.removed = true
    else {
      this.removed.add(ref)
      this.touchOwner(ref)
    }
  }

  /** The ref of what `set` added to the row under that key; -1 when absent. */
  findAdded(row: number, key: KeyId): number {
    for (const index of this.addedTo.get(row) ?? NO_INDEXES) {
      const added = this.additions[index]!
      if (added.key === key && !added.removed) return this.firstAdded + index
    }
    return -1
  }

  addition(ref: number): Added | undefined {
    return ref < this.firstAdded ? undefined : this.additions[ref - this.firstAdded]
  }

  /** The value of an edited or added attribute. */
  current(ref: number): AttrValue | undefined {
    return ref < this.firstAdded ? this.values.get(ref) : this.additions[ref - this.firstAdded]?.value
  }

  touchEvent(event: number): void {
    this.touchedRows.add(this.#lastFrom(this.table.spans, SPAN.width, SPAN.firstEvent, event))
  }

  /** The last record whose `field` is ≤ value: those fields never decrease from record to record. */
  #lastFrom(records: Int32Array, width: number, field: number, value: number): number {
    let low = 0
    let high = records.length / width
    while (low < high) {
      const middle = (low + high) >>> 1
      if (records[middle * width + field]! <= value) low = middle + 1
      else high = middle
    }
    return low - 1
  }

  keeps(row: number): boolean {
    return this.reasons[row] === undefined
  }
  touchesSpan(row: number): boolean {
    return this.touchedRows.has(row)
  }
  touchesScope(scope: number): boolean {
    return this.touchedScopes.has(scope)
  }
  touchesResource(resource: number): boolean {
    return this.touchedResources.has(resource)
  }
  value(attr: number): AttrValue | undefined {
    return this.values.get(attr)
  }
  annotations(attr: number): Notes | undefined {
    return this.notes.get(attr)
  }
  removes(attr: number): boolean {
    return this.removed.has(attr)
  }
  *added(row: number): Iterable<readonly [string, AttrValue]> {
    for (const index of this.addedTo.get(row) ?? []) {
      const added = this.additions[index]!
      if (!added.removed) yield [keyName(added.key), added.value]
    }
  }
  name(row: number): string | undefined {
    return this.names.get(row)
  }
  traceState(row: number): string | undefined {
    return this.traceStates.get(row)
  }
  statusMessage(row: number): string | undefined {
    return this.messages.get(row)
  }
  eventName(event: number): string | undefined {
    return this.eventNames.get(event)
  }
}

/** After the last attribute of the span, its events and links. */
function endOfSpan(table: SpanTable, row: number): number {
  const base = row * SPAN.width
  const lastLink = table.spans[base + SPAN.endLink]! - 1
  if (lastLink >= table.spans[base + SPAN.firstLink]!)
    return table.links[lastLink * LINK.width + LINK.endAttr]!
  const lastEvent = table.spans[base + SPAN.endEvent]! - 1
  if (lastEvent >= table.spans[base + SPAN.firstEvent]!)
    return table.events[lastEvent * EVENT.width + EVENT.endAttr]!
  return table.spans[base + SPAN.endAttr]!
}
