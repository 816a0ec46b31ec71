import { createHash } from 'node:crypto'
import { ATTRIBUTES, NOTES, RESOURCES, type AttributeClass } from './classes.ts'
import { pairwise, type Combination } from './pairwise.ts'

/** Keys and texts, sorted by key. As pairs, since `__proto__` is data here. */
export type Texts = readonly (readonly [string, string])[]

/** A span as a store must give it back, in the words of the collector's ClickHouse exporter. */
export interface GoldenSpan {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId: string
  readonly traceState: string
  readonly name: string
  readonly kind: string
  readonly startNs: string
  readonly durationNs: string
  readonly status: string
  readonly statusMessage: string
  readonly service: string
  readonly resource: Texts
  readonly scope: string
  readonly scopeVersion: string
  readonly attributes: Texts
  readonly events: readonly GoldenNote[]
  readonly links: readonly (GoldenNote & { readonly spanId: string })[]
}

interface GoldenNote {
  /** An event's time in ns, a link's trace id. */
  readonly at: string
  /** An event's name, a link's trace state. */
  readonly name: string
  readonly attributes: Texts
}

export interface GoldenRequest {
  /** ExportTraceServiceRequest as OTLP/JSON. */
  readonly document: object
  readonly spans: readonly GoldenSpan[]
}

/** After internal/coreinternal/goldendataset of opentelemetry-collector-contrib. */
const TRACE_DIMENSIONS = {
  resource: Object.keys(RESOURCES),
  scope: ['None', 'One', 'Two'],
  spans: ['None', 'One', 'Several', 'All'],
} as const

const SPAN_DIMENSIONS = {
  parent: ['Root', 'Child'],
  traceState: [
    '',
    'lasterror=f39cd56cc44274fd5abd07ef1164246d10ce2955',
    'a=1,b=2,rojo=00f067aa0ba902b7,congo=t61rcWkgMzE',
  ],
  kind: [0, 1, 2, 3, 4, 5],
  attributes: Object.keys(ATTRIBUTES),
  events: [0, 1, 2, 8],
  links: [0, 1, 2, 8],
  status: [0, 1, 2],
} as const

const KINDS = ['Unspecified', 'Internal', 'Server', 'Client', 'Producer', 'Consumer']
const STATUSES = ['Unset', 'Ok', 'Error']
const SEVERAL = 4
const BASE_NS = 1_760_000_000_123_456_789n

type SpanShape = Combination<typeof SPAN_DIMENSIONS>

/** The dataset. Trace ids begin with `prefix` (hex), so that several sendings stay apart. */
export function goldenRequests(prefix: string): GoldenRequest[] {
  const shapes = pairwise(SPAN_DIMENSIONS)
  let next = 0
  return pairwise(TRACE_DIMENSIONS).map(({ resource, scope, spans }, index) => {
    const resourceAttributes = RESOURCES[resource] ?? []
    const count = { None: 0, One: 1, Several: SEVERAL, All: shapes.length }[spans]
    const scopes = { None: [undefined], One: ['one'], Two: ['one', 'two'] }[scope]
    const made: GoldenSpan[] = []
    const scopeSpans = scopes.map((name) => {
      const own = Array.from({ length: count }, () => {
        const shape = shapes[next % shapes.length] as SpanShape
        const place = { resource: resourceAttributes, scope: name, traceId: idOf(prefix, index) }
        return goldenSpan(shape, next++, place)
      })
      made.push(...own.map((span) => span.expected))
      const documents = own.map((span) => span.document)
      return name === undefined ? { spans: documents } : { scope: scopeDocument(name), spans: documents }
    })
    const resourceSpans = [{ ...resourceDocument(resourceAttributes), scopeSpans }]
    return { document: { resourceSpans }, spans: made }
  })
}

interface Place {
  readonly resource: AttributeClass
  readonly scope: string | undefined
  readonly traceId: string
}

interface Parts {
  readonly shape: SpanShape
  readonly place: Place
  readonly spanId: string
  readonly parentSpanId: string
  readonly name: string
  readonly message: string
  readonly startNs: bigint
  readonly durationNs: bigint
  readonly own: AttributeClass
  readonly events: readonly Note[]
  readonly links: readonly Note[]
  readonly serial: number
}

function goldenSpan(
  shape: SpanShape,
  serial: number,
  place: Place,
): { document: object; expected: GoldenSpan } {
  const parts: Parts = {
    shape,
    place,
    serial,
    spanId: spanIdOf(serial),
    parentSpanId: shape.parent === 'Child' ? spanIdOf(serial + 1_000_000) : '',
    name: `${shape.attributes} ${shape.parent}`,
    message: shape.status === 2 ? `failed: ${shape.attributes}` : '',
    startNs: BASE_NS + BigInt(serial) * 1_000_000_007n,
    durationNs: BigInt(serial) * 1_000_003n,
    own: ATTRIBUTES[shape.attributes] ?? [],
    events: Array.from({ length: shape.events }, (_, i) => noteOf(serial + i)),
    links: Array.from({ length: shape.links }, (_, i) => noteOf(serial + i + 1)),
  }
  return { document: spanDocument(parts), expected: expectedSpan(parts) }
}

function spanDocument(parts: Parts): object {
  const { shape, serial, startNs } = parts
  return {
    traceId: parts.place.traceId,
    spanId: parts.spanId,
    ...(parts.parentSpanId === '' ? {} : { parentSpanId: parts.parentSpanId }),
    ...(shape.traceState === '' ? {} : { traceState: shape.traceState }),
    flags: 257,
    name: parts.name,
    kind: shape.kind,
    startTimeUnixNano: String(startNs),
    endTimeUnixNano: String(startNs + parts.durationNs),
    attributes: documentOf(parts.own),
    droppedAttributesCount: serial % 3,
    events: parts.events.map((note, i) => ({
      timeUnixNano: String(startNs + BigInt(i)),
      name: note.name,
      attributes: documentOf(note.attributes),
    })),
    links: parts.links.map((note, i) => ({
      traceId: linkedTrace(serial, i),
      spanId: spanIdOf(i),
      traceState: note.name,
      attributes: documentOf(note.attributes),
    })),
    status: shape.status === 0 ? {} : { code: shape.status, message: parts.message },
  }
}

function expectedSpan(parts: Parts): GoldenSpan {
  const { shape, place, serial, startNs } = parts
  return {
    traceId: place.traceId,
    spanId: parts.spanId,
    parentSpanId: parts.parentSpanId,
    traceState: shape.traceState,
    name: parts.name,
    kind: KINDS[shape.kind] ?? '',
    startNs: String(startNs),
    durationNs: String(parts.durationNs),
    status: STATUSES[shape.status] ?? '',
    statusMessage: parts.message,
    service: place.resource.find(({ key }) => key === 'service.name')?.text ?? '',
    resource: textsOf(place.resource),
    scope: place.scope === undefined ? '' : `golden.${place.scope}`,
    scopeVersion: place.scope === undefined ? '' : `1.0-${place.scope}`,
    attributes: textsOf(parts.own),
    events: parts.events.map((note, i) => ({
      at: String(startNs + BigInt(i)),
      name: note.name,
      attributes: textsOf(note.attributes),
    })),
    links: parts.links.map((note, i) => ({
      at: linkedTrace(serial, i),
      spanId: spanIdOf(i),
      name: note.name,
      attributes: textsOf(note.attributes),
    })),
  }
}

interface Note {
  readonly name: string
  readonly attributes: AttributeClass
}

function noteOf(turn: number): Note {
  return { name: turn % 4 === 3 ? '' : `note=${turn % 4}`, attributes: NOTES[turn % NOTES.length] ?? [] }
}

function scopeDocument(name: string): object {
  const attributes = [{ key: 'scope.kind', value: { stringValue: name } }]
  return { name: `golden.${name}`, version: `1.0-${name}`, attributes }
}

function resourceDocument(attributes: AttributeClass): object {
  return attributes.length === 0 ? {} : { resource: { attributes: documentOf(attributes) } }
}

function documentOf(attributes: AttributeClass): object[] {
  return attributes.map(({ key, value }) => ({ key, value }))
}

function textsOf(attributes: AttributeClass): Texts {
  return sortedTexts(attributes.map(({ key, text }) => [key, text] as const))
}

export function sortedTexts(texts: Texts): Texts {
  return texts.toSorted(([a], [b]) => (a < b ? -1 : 1))
}

function idOf(prefix: string, index: number): string {
  return (
    prefix +
    createHash('sha256')
      .update(`trace ${index}`)
      .digest('hex')
      .slice(0, 32 - prefix.length)
  )
}

function spanIdOf(serial: number): string {
  return createHash('sha256').update(`span ${serial}`).digest('hex').slice(0, 16)
}

function linkedTrace(serial: number, index: number): string {
  return createHash('sha256').update(`link ${serial} ${index}`).digest('hex').slice(0, 32)
}
