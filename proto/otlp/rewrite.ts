import { Cursor, Sink, WIRE } from '../wire.ts'
import { EVENT, LINK, RESOURCE, SCOPE, SPAN, type SpanTable } from './table.ts'
import { type Literal, writeLiteral } from './values.ts'

/** What differs from the bytes. Indexes are those of the table; undefined means "as it was". */
export interface Changes {
  /** Some rows are left out; with them go scopes and resources that keep none, and fields around them that are unknown. */
  readonly leavesOut: boolean
  keeps(row: number): boolean
  /** False: the span, and the attributes of its events and links, are as they were. */
  touchesSpan(row: number): boolean
  /** False: the scope's (resource's) own attributes are as they were. */
  touchesScope(scope: number): boolean
  touchesResource(resource: number): boolean
  value(attr: number): Literal | undefined
  /** Attributes to add right behind this one: what is put behind its key → value. */
  annotations(attr: number): ReadonlyMap<string, Literal> | undefined
  removes(attr: number): boolean
  added(row: number): Iterable<readonly [string, Literal]>
  name(row: number): string | undefined
  traceState(row: number): string | undefined
  statusMessage(row: number): string | undefined
  eventName(event: number): string | undefined
}

/** No change but that only some rows are kept. */
export function onlyRows(keeps: (row: number) => boolean): Changes {
  return {
    leavesOut: true,
    keeps,
    touchesSpan: () => false,
    touchesScope: () => false,
    touchesResource: () => false,
    value: () => undefined,
    annotations: () => undefined,
    removes: () => false,
    added: () => [],
    name: () => undefined,
    traceState: () => undefined,
    statusMessage: () => undefined,
    eventName: () => undefined,
  }
}

/**
 * The request with the changes applied: messages that nothing touches are copied as they are, unknown fields
 * included. Works by walking the original
 * fields again in the scan's order, so that the n-th attribute met is the n-th of the table.
 */
export function rewrite(bytes: Uint8Array, table: SpanTable, changes: Changes): Buffer {
  const sink = new Sink(bytes.length + 1024)
  const cursor = new Cursor(bytes)
  let resource = 0
  while (cursor.next()) {
    const { field } = cursor
    const from = cursor.start
    cursor.skip()
    if (field === 1) resourceSpans(new Rewriter(bytes, table, changes, sink), resource++, from, cursor.pos)
    else if (!changes.leavesOut) sink.raw(bytes, from, cursor.pos)
  }
  return sink.take()
}

class Rewriter {
  readonly bytes: Uint8Array
  readonly table: SpanTable
  readonly changes: Changes
  readonly sink: Sink

  constructor(bytes: Uint8Array, table: SpanTable, changes: Changes, sink: Sink) {
    this.bytes = bytes
    this.table = table
    this.changes = changes
    this.sink = sink
  }
}

type Fate = 'copy' | 'omit' | 'rewrite'

/** Of a scope: by its rows and its own attributes. */
function fateOfScope(r: Rewriter, scope: number): Fate {
  const base = scope * SCOPE.width
  const first = r.table.scopes[base + SCOPE.firstRow]!
  const end = r.table.scopes[base + SCOPE.endRow]!
  let kept = 0
  let touched = r.changes.touchesScope(scope)
  for (let row = first; row < end; row++) {
    if (!r.changes.keeps(row)) continue
    kept++
    touched ||= r.changes.touchesSpan(row)
  }
  if (kept === 0 && r.changes.leavesOut) return 'omit'
  return touched || kept < end - first ? 'rewrite' : 'copy'
}

function fateOfResource(r: Rewriter, resource: number): Fate {
  const base = resource * RESOURCE.width
  const end = r.table.resources[base + RESOURCE.endScope]!
  let isOmitted = r.changes.leavesOut
  let fate: Fate = r.changes.touchesResource(resource) ? 'rewrite' : 'copy'
  for (let scope = r.table.resources[base + RESOURCE.firstScope]!; scope < end; scope++) {
    const of = fateOfScope(r, scope)
    if (of !== 'omit') isOmitted = false
    if (of !== 'copy') fate = 'rewrite'
  }
  return isOmitted ? 'omit' : fate
}

/** `[from, to)` is the whole field, tag included; so for all below. */
function resourceSpans(r: Rewriter, resource: number, from: number, to: number): void {
  const fate = fateOfResource(r, resource)
  if (fate === 'omit') return
  if (fate === 'copy') return r.sink.raw(r.bytes, from, to)
  const base = resource * RESOURCE.width
  const cursor = content(r, base, r.table.resources)
  const mark = r.sink.open(1)
  let scope = r.table.resources[base + RESOURCE.firstScope]!
  let attr = r.table.resources[base + RESOURCE.firstAttr]!
  while (cursor.next()) {
    const { field, start } = cursor
    if (field === 2) {
      cursor.skip()
      scopeSpans(r, scope++, start, cursor.pos)
    } else if (field === 1 && r.changes.touchesResource(resource)) attr = holder(r, cursor, 1, 1, attr)
    else copyField(r, cursor)
  }
  r.sink.close(mark)
}

function scopeSpans(r: Rewriter, scope: number, from: number, to: number): void {
  const fate = fateOfScope(r, scope)
  if (fate === 'omit') return
  if (fate === 'copy') return r.sink.raw(r.bytes, from, to)
  const base = scope * SCOPE.width
  const cursor = content(r, base, r.table.scopes)
  const mark = r.sink.open(2)
  let row = r.table.scopes[base + SCOPE.firstRow]!
  let attr = r.table.scopes[base + SCOPE.firstAttr]!
  while (cursor.next()) {
    if (cursor.field === 2) {
      if (!r.changes.keeps(row)) cursor.skip()
      else if (r.changes.touchesSpan(row)) {
        cursor.skip()
        span(r, row)
      } else copyField(r, cursor)
      row++
    } else if (cursor.field === 1 && r.changes.touchesScope(scope)) attr = holder(r, cursor, 1, 3, attr)
    else copyField(r, cursor)
  }
  r.sink.close(mark)
}

function span(r: Rewriter, row: number): void {
  const base = row * SPAN.width
  const { spans } = r.table
  const cursor = content(r, base, spans)
  const name = r.changes.name(row)
  const state = r.changes.traceState(row)
  const message = r.changes.statusMessage(row)
  let attr = spans[base + SPAN.firstAttr]!
  let event = spans[base + SPAN.firstEvent]!
  let link = spans[base + SPAN.firstLink]!
  let hasStatus = false
  const mark = r.sink.open(2)
  while (cursor.next()) {
    if (cursor.field === 9) attribute(r, cursor, 9, attr++)
    else if (cursor.field === 5 && name !== undefined) cursor.skip()
    else if (cursor.field === 3 && state !== undefined) cursor.skip()
    else if (cursor.field === 11) spanEvent(r, cursor, event++)
    else if (cursor.field === 13)
      holder(r, cursor, 13, 4, r.table.links[link++ * LINK.width + LINK.firstAttr]!)
    else if (cursor.field === 15 && message !== undefined) {
      status(r, cursor, message)
      hasStatus = true
    } else copyField(r, cursor)
  }
  for (const [key, value] of r.changes.added(row)) keyValue(r, 9, Buffer.from(key), value)
  if (name !== undefined) textField(r, 5, name)
  if (state !== undefined && state !== '') textField(r, 3, state)
  if (message !== undefined && !hasStatus) {
    const empty = r.sink.open(15)
    textField(r, 2, message)
    r.sink.close(empty)
  }
  r.sink.close(mark)
}

/** A Status (or each piece of one that came in pieces) with a new message. */
function status(r: Rewriter, cursor: Cursor, message: string): void {
  const inner = cursor.message()
  const mark = r.sink.open(15)
  while (inner.next()) {
    if (inner.field === 2) inner.skip()
    else copyField(r, inner)
  }
  textField(r, 2, message)
  r.sink.close(mark)
}

function spanEvent(r: Rewriter, cursor: Cursor, event: number): void {
  const name = r.changes.eventName(event)
  let attr = r.table.events[event * EVENT.width + EVENT.firstAttr]!
  const inner = cursor.message()
  const mark = r.sink.open(11)
  while (inner.next()) {
    if (inner.field === 3) attribute(r, inner, 3, attr++)
    else if (inner.field === 2 && name !== undefined) inner.skip()
    else copyField(r, inner)
  }
  if (name !== undefined) textField(r, 2, name)
  r.sink.close(mark)
}

/** A message whose only changeable part is its attributes (field `attrField`); returns the index after them. */
function holder(r: Rewriter, cursor: Cursor, field: number, attrField: number, first: number): number {
  const inner = cursor.message()
  const mark = r.sink.open(field)
  let attr = first
  while (inner.next()) {
    if (inner.field === attrField) attribute(r, inner, attrField, attr++)
    else copyField(r, inner)
  }
  r.sink.close(mark)
  return attr
}

function attribute(r: Rewriter, cursor: Cursor, field: number, attr: number): void {
  if (r.changes.removes(attr)) return cursor.skip()
  const value = r.changes.value(attr)
  const notes = r.changes.annotations(attr)
  if (value === undefined && notes === undefined) return copyField(r, cursor)
  const from = cursor.start
  const key = keyOf(cursor.message())
  if (value === undefined) r.sink.raw(r.bytes, from, cursor.pos)
  else keyValue(r, field, key, value)
  for (const [suffix, note] of notes ?? [])
    keyValue(r, field, Buffer.concat([key, Buffer.from(suffix)]), note)
}

function keyOf(inner: Cursor): Buffer {
  let key: Buffer = Buffer.alloc(0)
  while (inner.next()) {
    if (inner.field === 1) key = inner.view()
    else inner.skip()
  }
  return key
}

function keyValue(r: Rewriter, field: number, key: Uint8Array, value: Literal): void {
  const mark = r.sink.open(field)
  r.sink.tag(1, WIRE.len)
  r.sink.bytes(key)
  const inner = r.sink.open(2)
  writeLiteral(r.sink, value)
  r.sink.close(inner)
  r.sink.close(mark)
}

function textField(r: Rewriter, field: number, text: string): void {
  r.sink.tag(field, WIRE.len)
  r.sink.string(text)
}

function copyField(r: Rewriter, cursor: Cursor): void {
  const from = cursor.start
  cursor.skip()
  r.sink.raw(r.bytes, from, cursor.pos)
}

/** `off` and `len` are the first two fields of every record that is a message. */
function content(r: Rewriter, base: number, records: Int32Array): Cursor {
  const off = records[base]!
  return new Cursor(r.bytes, off, off + records[base + 1]!)
}
