import {
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  type Attributes,
  type HrTime,
  type SpanContext,
} from '@opentelemetry/api'
import { resourceFromAttributes } from '@opentelemetry/resources'
import type { ReadableSpan } from '@opentelemetry/sdk-trace-base'

/** The parts of OTLP/JSON that the shared traces have. */
export interface TraceDocument {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly KeyValue[] }
    readonly scopeSpans: readonly {
      readonly scope: { readonly name: string; readonly version: string }
      readonly spans: readonly OtlpSpan[]
    }[]
  }[]
}

interface KeyValue {
  readonly key: string
  readonly value: Readonly<Record<string, string | number | boolean>>
}

interface OtlpSpan {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly name: string
  readonly kind: number
  readonly startTimeUnixNano: string
  readonly endTimeUnixNano: string
  readonly attributes: readonly KeyValue[]
  readonly status: { readonly code?: number; readonly message?: string }
}

const KINDS = [SpanKind.INTERNAL, SpanKind.SERVER, SpanKind.CLIENT, SpanKind.PRODUCER, SpanKind.CONSUMER]
const STATUSES = [SpanStatusCode.UNSET, SpanStatusCode.OK, SpanStatusCode.ERROR]

/** As a program's SDK would hold them. Trace ids begin with `prefix`, so that several deliveries stay apart. */
export function sdkSpans(document: TraceDocument, prefix: string): ReadableSpan[] {
  return document.resourceSpans.flatMap(({ resource, scopeSpans }) => {
    const made = resourceFromAttributes(attributesOf(resource.attributes))
    return scopeSpans.flatMap(({ scope, spans }) =>
      spans.map((span) => sdkSpan(span, prefix, { resource: made, instrumentationScope: scope })),
    )
  })
}

function sdkSpan(
  span: OtlpSpan,
  prefix: string,
  origin: Pick<ReadableSpan, 'resource' | 'instrumentationScope'>,
): ReadableSpan {
  const traceId = prefixed(span.traceId, prefix)
  const context = (spanId: string): SpanContext => ({ traceId, spanId, traceFlags: TraceFlags.SAMPLED })
  const [startNs, endNs] = [BigInt(span.startTimeUnixNano), BigInt(span.endTimeUnixNano)]
  return {
    name: span.name,
    // The SDK's kinds have no value for "unspecified": they begin one lower than OTLP's.
    kind: KINDS[span.kind - 1] ?? SpanKind.INTERNAL,
    spanContext: () => context(span.spanId),
    ...(span.parentSpanId === undefined ? {} : { parentSpanContext: context(span.parentSpanId) }),
    startTime: hrTime(startNs),
    endTime: hrTime(endNs),
    duration: hrTime(endNs - startNs),
    status: {
      code: STATUSES[span.status.code ?? 0] ?? SpanStatusCode.UNSET,
      ...(span.status.message === undefined ? {} : { message: span.status.message }),
    },
    attributes: attributesOf(span.attributes),
    links: [],
    events: [],
    ended: true,
    ...origin,
    droppedAttributesCount: 0,
    droppedEventsCount: 0,
    droppedLinksCount: 0,
  }
}

export function prefixed(traceId: string, prefix: string): string {
  return prefix + traceId.slice(prefix.length)
}

function hrTime(ns: bigint): HrTime {
  return [Number(ns / 1_000_000_000n), Number(ns % 1_000_000_000n)]
}

function attributesOf(pairs: readonly KeyValue[]): Attributes {
  return Object.fromEntries(
    pairs.map(({ key, value }) => {
      const { stringValue, intValue, doubleValue, boolValue } = value
      return [
        key,
        stringValue ?? (intValue === undefined ? undefined : Number(intValue)) ?? doubleValue ?? boolValue,
      ]
    }),
  )
}

/** Texts as stored, for comparison; the files have scalars only. */
export function textsOf(pairs: readonly KeyValue[]): Record<string, string> {
  return Object.fromEntries(pairs.map(({ key, value }) => [key, String(Object.values(value)[0])]))
}
