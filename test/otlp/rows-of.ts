import type { AttrRange, AttrRef, Batch } from '../../pipeline/batch/batch.ts'
import type { Attribute, Row, Value } from './naive.ts'
import { testMeta } from '../support/batch-meta.ts'

export const META = testMeta()

/** A value as a batch shows it: key, type, text, number, string. */
export interface Seen {
  key: string
  type: number
  text: string
  string: string
  number: number
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

/** What a batch's accessors say of each live row, in the shape of the oracle; values as `Seen`. */
export function rowsOf(batch: Batch): SeenRow[] {
  const rows: SeenRow[] = []
  for (let row = 0; row < batch.rows; row++) if (batch.isLive(row)) rows.push(rowOf(batch, row))
  return rows
}

export type SeenRow = Omit<
  Row,
  'attributes' | 'events' | 'links' | 'scopeAttributes' | 'resourceAttributes'
> & {
  attributes: Seen[]
  events: { timeNs: bigint; name: string; attributes: Seen[] }[]
  links: { traceId: string; spanId: string; traceState: string; attributes: Seen[] }[]
  scopeAttributes: Seen[]
  resourceAttributes: Seen[]
}

function rowOf(batch: Batch, row: number): SeenRow {
  return {
    traceId: hex(batch.traceId(row)),
    spanId: hex(batch.spanId(row)),
    parentSpanId: hex(batch.parentSpanId(row)),
    traceState: batch.traceState(row),
    name: batch.name(row),
    kind: batch.kind(row),
    startNs: batch.startNs(row),
    endNs: batch.endNs(row),
    attributes: seen(batch, batch.attrs(row, 'span')),
    events: indexes(batch.events(row)).map((event) => ({
      timeNs: batch.eventTimeNs(event),
      name: batch.eventName(event),
      attributes: seen(batch, batch.eventAttrs(event)),
    })),
    links: indexes(batch.links(row)).map((link) => ({
      traceId: hex(batch.linkTraceId(link)),
      spanId: hex(batch.linkSpanId(link)),
      traceState: batch.linkTraceState(link),
      attributes: seen(batch, batch.linkAttrs(link)),
    })),
    statusCode: batch.statusCode(row),
    statusMessage: batch.statusMessage(row),
    scopeName: batch.scopeName(row),
    scopeVersion: batch.scopeVersion(row),
    scopeAttributes: seen(batch, batch.attrs(row, 'scope')),
    resourceAttributes: seen(batch, batch.attrs(row, 'resource')),
  }
}

function indexes(range: AttrRange): number[] {
  return Array.from({ length: range.end - range.first }, (_, index) => range.first + index)
}

function seen(batch: Batch, range: AttrRange): Seen[] {
  return indexes(range).map((index) => {
    const ref = index as AttrRef
    return {
      key: batch.key(ref),
      type: batch.type(ref),
      text: batch.text(ref),
      string: batch.string(ref),
      number: batch.number(ref),
    }
  })
}

/** The oracle's rows as a batch should show them. */
export function expected(rows: readonly Row[]): SeenRow[] {
  return rows.map((row) => ({
    ...row,
    attributes: row.attributes.map(show),
    events: row.events.map((event) => ({ ...event, attributes: event.attributes.map(show) })),
    links: row.links.map((link) => ({ ...link, attributes: link.attributes.map(show) })),
    scopeAttributes: row.scopeAttributes.map(show),
    resourceAttributes: row.resourceAttributes.map(show),
  }))
}

const DECIMAL = /^\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*$/

function show({ key, value }: Attribute): Seen {
  const string = value[0] === 1 ? value[1] : ''
  let number = Number.NaN
  if (value[0] === 3) number = Number(value[1])
  if (value[0] === 4) number = value[1]
  if (value[0] === 1 && string.length <= 64 && DECIMAL.test(string)) number = Number(string)
  return { key, type: value[0], text: textOf(value), string, number }
}

/** AsString of the collector's pdata, over the oracle's values. */
function textOf(value: Value): string {
  switch (value[0]) {
    case 0:
      return ''
    case 1:
      return value[1]
    case 4:
      return Object.is(value[1], -0) ? '-0' : String(value[1])
    case 5:
    case 6:
      return json(value) ?? ''
    case 2:
    case 3:
      return String(value[1])
    case 7:
      break
  }
  return Buffer.from(value[1], 'hex').toString('base64')
}

function json(value: Value): string | undefined {
  switch (value[0]) {
    case 0:
      return 'null'
    case 1:
      return quote(value[1])
    case 4:
      return Number.isFinite(value[1]) ? textOf(value) : undefined
    case 5: {
      const items = value[1].map(json)
      return items.includes(undefined) ? undefined : `[${items.join(',')}]`
    }
    case 6: {
      const pairs = new Map(value[1].map((one) => [one.key, one.value]))
      const keys = [...pairs.keys()].sort((a, b) => Buffer.from(a).compare(Buffer.from(b)))
      const items = keys.map((key) => [quote(key), json(pairs.get(key)!)] as const)
      if (items.some(([, text]) => text === undefined)) return undefined
      return `{${items.map((pair) => pair.join(':')).join(',')}}`
    }
    case 2:
    case 3:
      return String(value[1])
    case 7:
      break
  }
  return value[1] === '' ? 'null' : `"${textOf(value)}"`
}

function quote(text: string): string {
  return JSON.stringify(text).replaceAll('\u2028', '\\u2028').replaceAll('\u2029', '\\u2029')
}
