import type { AttrRef, Batch } from '../../pipeline/batch/batch.ts'
import { COST_STATUS, COSTS, TOKENS, type SpanFacts } from '../../pipeline/batch/facts.ts'
import { keyId } from '../../pipeline/batch/keys.ts'
import { rawView, type RawView } from '../../pipeline/batch/raw.ts'
import { TableReader } from '../../pipeline/batch/table-reader.ts'
import { factsOf } from '../../pipeline/genai/facts-of.ts'
import { hintText } from '../../pipeline/genai/price-hints.ts'
import { ATTR_AT, EVENT, LINK, RESOURCE, SCOPE, SPAN } from '../../proto/otlp/table.ts'
import type { Sink } from '../../proto/clickhouse/sink.ts'
import { Attributes, Fragment } from './attributes.ts'
import type { SpanBlock, SpanColumns } from './block.ts'
import { EventIds } from '../../pipeline/batch/event-id.ts'
import { addDuration, halves, startMs } from './times.ts'

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
 * is not a string is put into words. Facts come as JS strings, most of them repeated: dictionary columns remember the last.
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
  #tenant = ''
  #project = ''
  #facts: SpanFacts | undefined
  /** Row of the batch → row of `#raw`; undefined: the same. */
  #rows: Int32Array | undefined
  #costs: Uint32Array = new Uint32Array(0)
  #provided: Uint32Array = new Uint32Array(0)
  #ids = new EventIds('')
  #walSeq = 0
  #walRow = 0
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
    this.#firstMs = Infinity
    this.#lastMs = 0
  }

  /** The batch that `add` takes rows of. Call it again after the block was cleared. */
  begin(batch: Batch): void {
    const { meta } = batch
    this.#facts = factsOf(batch)
    this.#costs = halves(this.#facts.cost)
    this.#provided = halves(this.#facts.costProvided)
    this.#ids = new EventIds(meta.tenant)
    this.#tenant = meta.tenant
    this.#project = meta.project
    this.#walSeq = meta.wal?.seq ?? 0
    this.#walRow = meta.wal?.row ?? 0
    this.#aheadMs = meta.receivedAtMs + DAY_MS
    this.#lastResource = -1
    this.#source(batch)
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
    this.#meaning(c, this.#facts as SpanFacts, row)
    c.WalSeq.addU64(this.#walSeq)
    c.WalRow.addU32(this.#walRow + row)
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
    if (resource !== this.#lastResource) this.#encodeResource(c, raw, resource)
    c.ServiceName.addIndex(this.#fragment.service)
    for (const key of this.#fragment.keys) c.resource.keys.addIndex(key)
    c.resource.values.addEncoded(this.#fragment.values.view())
    c.resource.rows.endRow(this.#fragment.keys.length)
  }

  /** A resource's map is the same for all its spans: it is put together once and copied. */
  #encodeResource(c: SpanColumns, raw: RawView, resource: number): void {
    const { bytes, table } = raw
    const at = resource * RESOURCE.width
    const fragment = this.#fragment
    fragment.keys.length = 0
    fragment.values.clear()
    fragment.service = c.ServiceName.indexOfText('')
    this.#lastResource = resource
    for (
      let ref = table.resources[at + RESOURCE.firstAttr]!;
      ref < table.resources[at + RESOURCE.endAttr]!;
      ref++
    ) {
      const entry = ref * ATTR_AT.width
      const start = fragment.values.length
      this.#resource.value(raw, this.#reader as TableReader, ref, fragment.values)
      fragment.keys.push(this.#resource.keyIndex(bytes, table.attrs[entry]!))
      if (table.attrs[entry] === SERVICE_NAME) fragment.service = serviceIndex(c, fragment.values, start)
    }
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

  #meaning(c: SpanColumns, facts: SpanFacts, row: number): void {
    c.TenantId.addText(this.#tenant)
    c.ProjectId.addText(this.#project)
    c.RunId.addText(facts.runId[row]!)
    c.Seq.addU32(facts.seq[row]!)
    c.SessionId.addText(facts.sessionId[row]!)
    c.UserId.addText(facts.userId[row]!)
    c.AgentName.addText(facts.agentName[row]!)
    c.ToolName.addText(facts.toolName[row]!)
    c.Operation.addText(facts.operation[row]!)
    c.ModelCall.add(facts.leaf[row]!)
    c.Provider.addText(facts.provider[row]!)
    c.RequestModel.addText(facts.requestModel[row]!)
    c.ResponseModel.addText(facts.responseModel[row]!)
    c.PriceModel.addText(facts.priceModel[row]!)
    c.ServiceTier.addText(facts.serviceTier[row]!)
    c.FinishReason.addText(facts.finishReason[row]!)
    c.UsageSemantics.addText(facts.usageSemantics[row]!)
    c.TimeToFirstTokenMs.addF64(facts.timeToFirstTokenMs[row]!)
    c.SampleRate.addF64(facts.sampleRate[row]!)
    for (let i = 0; i < TOKENS.length; i++) c.tokens[i]!.addU32(facts.tokens[row * TOKENS.length + i]!)
    this.#cost(c, facts, row)
  }

  #cost(c: SpanColumns, facts: SpanFacts, row: number): void {
    for (let i = 0; i < COSTS.length; i++) {
      const at = (row * COSTS.length + i) * 2
      c.costs[i]!.addPair(this.#costs[at]!, this.#costs[at + 1]!)
    }
    const [low, high] = [this.#provided[row * 2]!, this.#provided[row * 2 + 1]!]
    // Negative: the sender gave none.
    if (high >>> 31 === 1) c.CostProvidedUsd.addNull()
    else c.CostProvidedUsd.addPair(low, high)
    c.CostStatus.addText(COST_STATUS[facts.costStatus[row]!] ?? 'none')
    c.CostReason.addText(facts.costReason[row]!)
    c.PriceVersion.addText(facts.priceVersion[row]!)
    c.PriceHints.addText(hintText(facts.priceHints.get(row)))
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
