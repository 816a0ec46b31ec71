import type { Batch } from '../../pipeline/batch/batch.ts'
import { EventIds } from '../../pipeline/batch/event-id.ts'
import {
  hex,
  isoNs,
  kindName,
  plainFacts,
  plainMap,
  plainSpans,
  serviceOf,
  type PlainSpan,
} from '../../pipeline/batch/plain-spans.ts'

/** A span as Elasticsearch keeps it. */
export interface Document {
  /** `EventId` in hex: whoever sends the span again writes the same document. */
  readonly id: string
  readonly startMs: number
  readonly row: number
  readonly source: object
}

/** ECS `event.outcome` of OTLP status unset, ok, error. */
const OUTCOMES = ['unknown', 'success', 'failure']

/** The live spans of a batch, with all edits, in order of their rows. */
export function documentsOf(batch: Batch): Document[] {
  const ids = new EventIds(batch.meta.tenant)
  return plainSpans(batch).map((plain) => ({
    id: eventId(ids, batch, plain.row),
    startMs: batch.startMs(plain.row),
    row: plain.row,
    source: sourceOf(batch, plain),
  }))
}

function sourceOf(batch: Batch, plain: PlainSpan): object {
  const { row, span, attributes, resource, scope } = plain
  const parent = hex(batch.parentSpanId(row))
  const { tenant, project, source } = batch.meta
  return {
    '@timestamp': isoNs(batch.startNs(row)),
    trace: { id: hex(batch.traceId(row)) },
    span: {
      id: hex(batch.spanId(row)),
      name: batch.name(row),
      kind: kindName(batch.kind(row)),
    },
    ...(parent !== '' && { parent: { id: parent } }),
    event: { duration: Number(batch.durationNs(row)), outcome: OUTCOMES[batch.statusCode(row)] ?? 'unknown' },
    ...(batch.statusMessage(row) !== '' && { status: { message: batch.statusMessage(row) } }),
    attributes,
    ...(span.events !== undefined && {
      events: span.events.map((event) => ({
        '@timestamp': isoNs(BigInt(event.timeUnixNano ?? 0)),
        name: event.name ?? '',
        attributes: plainMap(event.attributes),
      })),
    }),
    ...(span.links !== undefined && {
      links: span.links.map((link) => ({
        trace: { id: link.traceId ?? '' },
        span: { id: link.spanId ?? '' },
        attributes: plainMap(link.attributes),
      })),
    }),
    service: { name: serviceOf(plain) },
    resource: { attributes: resource },
    scope,
    weir: {
      tenant,
      ...(project !== '' && { project }),
      source,
      ...(batch.facts && plainFacts(batch.facts, row)),
    },
  }
}

function eventId(ids: EventIds, batch: Batch, row: number): string {
  const key = Buffer.alloc(32)
  const [trace, span] = [batch.traceId(row), batch.spanId(row)]
  key.set(trace, 0)
  key.set(span, 16)
  key.writeBigUInt64LE(batch.startNs(row), 24)
  return ids.of(key, trace.length === 16 ? 0 : -1, span.length === 8 ? 16 : -1, 24).toString('hex')
}
