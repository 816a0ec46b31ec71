import type { AttrRef, Batch } from '../../pipeline/batch/batch.ts'
import { keyId } from '../../pipeline/batch/keys.ts'
import { rawView, type RawView } from '../../pipeline/batch/raw.ts'
import { TableReader } from '../../pipeline/batch/table-reader.ts'
import { ATTR_AT, EVENT, LINK, RESOURCE, SCOPE, SPAN } from '../../proto/otlp/table.ts'
import type { Sink } from '../../proto/clickhouse/sink.ts'
import { Attributes, Fragment } from './attributes.ts'
import type { SpanBlock, SpanColumns } from './block.ts'
import { EventIds } from '../../pipeline/batch/event-id.ts'
import { MeaningWriter } from './meaning-writer.ts'
import { addDuration, startMs } from './times.ts'

/** As the collector's exporter writes them. */
const KINDS = ['Unspecified', 'Internal', 'Server', 'Client', 'Producer', 'Consumer']
const STATUSES = ['Unset', 'Ok', 'Error']

const SERVICE_NAME = keyId('service.name')
const REDACTIONS = keyId('weir.redactions')
const VIOLATIONS = keyId('weir.violations')
const CLOCK_AHEAD = 'weir.clock_ahead_seconds'
const DAY_MS = 86_400_000

/**
 * Writes spans into the columns of a block, from the bytes they came in: ids, times and strings are copied, only what
 * is not a string is put into words.
 */
export class SpanWriter {
  readonly #block: SpanBlock
  readonly #columns: SpanColumns
  readonly #resource: Attributes
  readonly #span: Attributes
  readonly #event: Attributes
  readonly #link: Attributes
  readonly #fragment = new Fragment()
  #raw: RawView | undefined
  #reader: TableReader | undefined
  readonly #meaning: MeaningWriter
  #batch: Batch | undefined
  /** Rows of the batch that were added. */
  #added = new Int32Array(512)
  #count = 0
  /** Row of the batch → row of `#raw`; undefined: the same. */
  #rows: Int32Array | undefined
  #ids = new EventIds('')
  #aheadMs = 0
  #lastResource = -1
  #firstMs = Infinity
  #lastMs = 0

  constructor(block: SpanBlock) {
    this.#block = block
    this.#columns = block.columns
    this.#resource = new Attributes(block.columns.resource)
    this.#span = new Attributes(block.columns.attributes)
    this.#event = new Attributes(block.columns.events.map)
    this.#link = new Attributes(block.columns.links.map)
    this.#meaning = new MeaningWriter(block.columns)
  }

  /** Bytes in the columns that a sender can make long. */
  get bytes(): number {
    const { resource, attributes, events, links, StatusMessage } = this.#columns
    return (
      attributes.values.sink.length +
      resource.values.sink.length +
      events.map.values.sink.length +
      links.map.values.sink.length +
      StatusMessage.sink.length +
      this.#block.rows * 256
    )
  }

  /** Of the spans in the block, by start; Unix ms. */
  get firstMs(): number {
    return this.#firstMs
  }

  get lastMs(): number {
    return this.#lastMs
  }

  /** Before a new filling of the block. */
  reset(): void {
    this.#block.clear()
    this.#batch = undefined
    this.#count = 0
    this.#firstMs = Infinity
    this.#lastMs = 0
  }

  /** The batch that `add` takes rows of. Call it again after the block was cleared. */
  begin(batch: Batch): void {
    this.end()
    const { meta } = batch
    this.#batch = batch
    this.#ids = new EventIds(meta.tenant)
    this.#aheadMs = meta.receivedAtMs + DAY_MS
    this.#lastResource = -1
    if (this.#added.length < batch.rows) this.#added = new Int32Array(batch.rows)
    this.#source(batch)
  }

  /** Completes the rows that were added: before the block is read. */
  end(): void {
    if (this.#batch !== undefined && this.#count > 0)
      this.#meaning.add(this.#batch, this.#added.subarray(0, this.#count))
    this.#count = 0
  }

  /** Where nothing was edited or dropped, these are the batch's own bytes and rows. */
  #source(batch: Batch): void {
    const raw = rawView(batch)
    this.#raw = raw
    this.#reader = new TableReader(raw.bytes, raw.table)
    this.#rows = undefined
    if (raw.rows === undefined) return
    this.#rows = new Int32Array(batch.rows)
    for (let i = 0; i < raw.rows.length; i++) this.#rows[raw.rows[i] as number] = i
  }

  add(row: number): void {
    const raw = this.#raw as RawView
    const { bytes, table } = raw
    const spans = table.spans
    const at = (this.#rows === undefined ? row : (this.#rows[row] as number)) * SPAN.width
    const c = this.#columns
    this.#block.rows++
    this.#added[this.#count++] = row
    this.#ids64(c, bytes, spans, at)
    c.TraceState.addBytes(
      bytes,
      spans[at + SPAN.stateOff]!,
      spans[at + SPAN.stateOff]! + spans[at + SPAN.stateLen]!,
    )
    c.SpanName.addBytes(
      bytes,
      spans[at + SPAN.nameOff]!,
      spans[at + SPAN.nameOff]! + spans[at + SPAN.nameLen]!,
    )
    c.SpanKind.addText(KINDS[spans[at + SPAN.kind]!] ?? 'Unspecified')
    c.StatusCode.addText(STATUSES[spans[at + SPAN.status]!] ?? 'Unset')
    const message = spans[at + SPAN.messageOff]!
    c.StatusMessage.addBytes(bytes, message, message + spans[at + SPAN.messageLen]!)
    this.#scope(c, raw, spans[at + SPAN.scope]!)
    this.#attributes(c, raw, at)
    this.#events(c, raw, spans[at + SPAN.firstEvent]!, spans[at + SPAN.endEvent]!)
    this.#links(c, raw, spans[at + SPAN.firstLink]!, spans[at + SPAN.endLink]!)
  }

  #ids64(c: SpanColumns, bytes: Buffer, spans: Int32Array, at: number): void {
    const traceId = spans[at + SPAN.traceId]!
    const spanId = spans[at + SPAN.spanId]!
    const parentId = spans[at + SPAN.parentId]!
    const start = spans[at + SPAN.start]!
    if (start < 0) c.Timestamp.addPair(0, 0)
    else c.Timestamp.addBytes(bytes, start)
    c.TraceId.addHex(bytes, traceId, traceId < 0 ? traceId : traceId + 16)
    c.SpanId.addHex(bytes, spanId, spanId < 0 ? spanId : spanId + 8)
    c.ParentSpanId.addHex(bytes, parentId, parentId < 0 ? parentId : parentId + 8)
    addDuration(c.Duration, bytes, start, spans[at + SPAN.end]!)
    c.EventId.addBytes(this.#ids.of(bytes, traceId, spanId, start), 0)
  }

  #scope(c: SpanColumns, raw: RawView, scope: number): void {
    const { bytes, table } = raw
    const at = scope * SCOPE.width
    const { scopes } = table
    c.ScopeName.addBytes(
      bytes,
      scopes[at + SCOPE.nameOff]!,
      scopes[at + SCOPE.nameOff]! + scopes[at + SCOPE.nameLen]!,
    )
    const version = scopes[at + SCOPE.versionOff]!
    c.ScopeVersion.addBytes(bytes, version, version + scopes[at + SCOPE.versionLen]!)
    const resource = scopes[at + SCOPE.resource]!
    if (resource === this.#lastResource)
      c.resource.values.sink.repeat(this.#fragment.start, this.#fragment.end)
    else this.#encodeResource(c, raw, resource)
    c.ServiceName.addIndex(this.#fragment.service)
    c.resource.keys.addIndexes(this.#fragment.keys)
    c.resource.rows.endRow(this.#fragment.keys.length)
  }

  /** A resource's map is the same for all its spans: it is put together for the first of them and repeated. */
  #encodeResource(c: SpanColumns, raw: RawView, resource: number): void {
    const { bytes, table } = raw
    const at = resource * RESOURCE.width
    const fragment = this.#fragment
    const { sink } = c.resource.values
    fragment.keys.length = 0
    fragment.start = sink.length
    fragment.service = c.ServiceName.indexOfText('')
    this.#lastResource = resource
    for (
      let ref = table.resources[at + RESOURCE.firstAttr]!;
      ref < table.resources[at + RESOURCE.endAttr]!;
      ref++
    ) {
      const entry = ref * ATTR_AT.width
      const start = sink.length
      this.#resource.value(raw, this.#reader as TableReader, ref, sink)
      fragment.keys.push(this.#resource.keyIndex(bytes, table.attrs[entry]!))
      if (table.attrs[entry] === SERVICE_NAME) fragment.service = serviceIndex(c, sink, start)
    }
    fragment.end = sink.length
  }

  #attributes(c: SpanColumns, raw: RawView, at: number): void {
    const { spans, attrs } = raw.table
    let redactions = 0
    let violations = 0
    const end = spans[at + SPAN.endAttr]!
    for (let ref = spans[at + SPAN.firstAttr]!; ref < end; ref++) {
      const key = attrs[ref * ATTR_AT.width]!
      this.#span.add(raw, this.#reader as TableReader, ref)
      if (key === REDACTIONS) redactions = countOf(this.#reader as TableReader, ref)
      else if (key === VIOLATIONS) violations = countOf(this.#reader as TableReader, ref)
    }
    const ms = startMs(raw.bytes, spans[at + SPAN.start]!)
    if (ms < this.#firstMs) this.#firstMs = ms
    if (ms > this.#lastMs) this.#lastMs = ms
    const ahead = ms - this.#aheadMs
    if (ahead > 0) this.#span.addText(CLOCK_AHEAD, String(Math.round((ahead + DAY_MS) / 1000)))
    c.attributes.rows.endRow(end - spans[at + SPAN.firstAttr]! + (ahead > 0 ? 1 : 0))
    c.Redactions.addU32(redactions)
    c.Violations.addU32(violations)
  }

  #events(c: SpanColumns, raw: RawView, first: number, end: number): void {
    const { times, names, map, rows } = c.events
    const { bytes, table } = raw
    for (let event = first; event < end; event++) {
      const at = event * EVENT.width
      const when = table.events[at + EVENT.time]!
      if (when < 0) times.addPair(0, 0)
      else times.addBytes(bytes, when)
      const label = table.events[at + EVENT.nameOff]!
      names.addBytes(bytes, label, label + table.events[at + EVENT.nameLen]!)
      map.rows.endRow(
        this.#event.addRange(
          raw,
          this.#reader as TableReader,
          table.events[at + EVENT.firstAttr]!,
          table.events[at + EVENT.endAttr]!,
        ),
      )
    }
    for (const column of rows) column.endRow(end - first)
  }

  #links(c: SpanColumns, raw: RawView, first: number, end: number): void {
    const { traces, spans, states, map, rows } = c.links
    const { bytes, table } = raw
    for (let link = first; link < end; link++) {
      const at = link * LINK.width
      const traceId = table.links[at + LINK.traceId]!
      const spanId = table.links[at + LINK.spanId]!
      traces.addHex(bytes, traceId, traceId < 0 ? traceId : traceId + 16)
      spans.addHex(bytes, spanId, spanId < 0 ? spanId : spanId + 8)
      states.addBytes(
        bytes,
        table.links[at + LINK.stateOff]!,
        table.links[at + LINK.stateOff]! + table.links[at + LINK.stateLen]!,
      )
      map.rows.endRow(
        this.#link.addRange(
          raw,
          this.#reader as TableReader,
          table.links[at + LINK.firstAttr]!,
          table.links[at + LINK.endAttr]!,
        ),
      )
    }
    for (const column of rows) column.endRow(end - first)
  }
}

/** The service's name is the attribute just encoded: length varint, bytes. */
function serviceIndex(c: SpanColumns, values: Sink, start: number): number {
  let at = start
  while (values.bytes[at]! >= 0x80) at++
  return c.ServiceName.indexOfBytes(values.bytes, at + 1, values.length)
}

function countOf(reader: TableReader, ref: number): number {
  const count = reader.number(ref as AttrRef)
  return count > 0 && count <= 0xffff_ffff ? Math.floor(count) : 0
}
