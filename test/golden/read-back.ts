import { setTimeout as delay } from 'node:timers/promises'
import type { Daemon } from '../support/daemon.ts'
import { sortedTexts, type GoldenSpan, type Texts } from './dataset.ts'

/** A stored span in the words of `GoldenSpan`, from the columns that the collector's exporter has. */
export const GOLDEN_COLUMNS = `TraceId, SpanId, ParentSpanId, TraceState, SpanName, SpanKind,
  toString(toUnixTimestamp64Nano(Timestamp)), toString(Duration), StatusCode, StatusMessage, ServiceName,
  ResourceAttributes, ScopeName, ScopeVersion, SpanAttributes,
  arrayMap(t -> toString(toUnixTimestamp64Nano(t)), Events.Timestamp), Events.Name, Events.Attributes,
  Links.TraceId, Links.SpanId, Links.TraceState, Links.Attributes`

type TextMap = Readonly<Record<string, string>>

const pairs = (map: TextMap | undefined): Texts => sortedTexts(Object.entries(map ?? {}))

export function goldenRow(row: readonly unknown[]): GoldenSpan {
  const [traceId, spanId, parentSpanId, traceState, name, kind, startNs, durationNs, status] = row as string[]
  const [statusMessage, service] = row.slice(9, 11) as string[]
  const [resource, scope, scopeVersion, attributes] = row.slice(11, 15) as [TextMap, string, string, TextMap]
  const [times, eventNames, eventMaps] = row.slice(15, 18) as [string[], string[], TextMap[]]
  const [linkTraces, linkSpans, linkStates, linkMaps] = row.slice(18, 22) as [
    string[],
    string[],
    string[],
    TextMap[],
  ]
  const ids = { traceId, spanId, parentSpanId, traceState, name, kind, startNs, durationNs, status }
  const place = { statusMessage, service, resource: pairs(resource), scope, scopeVersion }
  return {
    ...ids,
    ...place,
    attributes: pairs(attributes),
    events: times.map((at, i) => ({ at, name: eventNames[i], attributes: pairs(eventMaps[i]) })),
    links: linkTraces.map((at, i) => ({
      at,
      spanId: linkSpans[i],
      name: linkStates[i],
      attributes: pairs(linkMaps[i]),
    })),
  } as GoldenSpan
}

/** Returns once as many rows are stored as were acknowledged; at the deadline, what there is. */
export async function storedCount(
  daemon: Daemon,
  wanted: number,
  where = '1',
  timeoutMs = 60_000,
): Promise<number> {
  const endMs = performance.now() + timeoutMs
  for (;;) {
    const rows = await daemon.query(`SELECT count() FROM otel_traces WHERE ${where}`)
    const count = Number(rows[0]?.[0])
    if (count >= wanted || performance.now() > endMs) return count
    await delay(50)
  }
}
