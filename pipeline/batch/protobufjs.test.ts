import { fileURLToPath } from 'node:url'
import * as fc from 'fast-check'
import protobuf from 'protobufjs'
import { expect, test } from 'vitest'
import { standardRequest } from '../../bench/shape.ts'
import { requests } from '../../test/otlp/arbitrary.ts'
import { apply, edits } from '../../test/otlp/edits.ts'
import { naiveRows } from '../../test/otlp/naive.ts'
import { META } from '../../test/otlp/rows-of.ts'
import { decodeBatch, decodeJsonBatch } from './otlp-batch.ts'

/** A second oracle, which knows OTLP from the vendored .proto files only. */
const vendor = fileURLToPath(new URL('../../proto/vendor/', import.meta.url))
const root = new protobuf.Root()
root.resolvePath = (_, target) => vendor + target
root.loadSync('opentelemetry/proto/collector/trace/v1/trace_service.proto')
const type = root.lookupType('opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest')

const IDS = ['traceId', 'spanId', 'parentSpanId']

/** What protobufjs reads, as OTLP/JSON without zero values. */
function read(bytes: Uint8Array): unknown {
  const object = type.toObject(type.decode(bytes), { longs: String, bytes: Buffer, json: true })
  return plain(object)
}

function plain(value: unknown, name = ''): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString(IDS.includes(name) ? 'hex' : 'base64')
  if (Array.isArray(value)) return value.map((item) => plain(item))
  if (typeof value === 'number')
    return Number.isFinite(value) && !Object.is(value, -0) ? value : special(value)
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).map(([key, item]) => [key, plain(item, key)] as const)
  return Object.fromEntries(entries.filter(([key, item]) => key.endsWith('Value') || !isZero(item)))
}

function special(value: number): string {
  return Object.is(value, -0) ? '-0' : String(value)
}

function isZero(value: unknown): boolean {
  return value === 0 || value === '' || value === '0' || (Array.isArray(value) && value.length === 0)
}

test('JSON says what protobufjs reads', () => {
  fc.assert(
    fc.property(requests({ canonical: true }), (bytes) => {
      const json: unknown = JSON.parse(decodeBatch(bytes, META).toJson())
      expect(plain(json)).toEqual(read(bytes))
    }),
    { numRuns: 150 },
  )
})

test('bytes made from JSON are what protobufjs reads', () => {
  fc.assert(
    fc.property(requests({ canonical: true }), (bytes) => {
      const json = decodeBatch(bytes, META).toJson()
      expect(read(decodeJsonBatch(Buffer.from(json), META).encode())).toEqual(read(bytes))
    }),
    { numRuns: 100 },
  )
})

test('protobufjs reads an edited batch as the naive decoder does', () => {
  fc.assert(
    fc.property(requests({ canonical: true }), edits, (bytes, list) => {
      const batch = decodeBatch(bytes, META)
      const model = apply(batch, naiveRows(bytes), list)
      const encoded = batch.encode()
      expect(plain(JSON.parse(decodeBatch(encoded, META).toJson()))).toEqual(read(encoded))
      const seen = type.decode(encoded) as unknown as {
        resourceSpans: { scopeSpans: { spans: { name: string }[] }[] }[]
      }
      const names = seen.resourceSpans.flatMap((one) =>
        one.scopeSpans.flatMap((two) => two.spans.map((s) => s.name)),
      )
      expect(names).toEqual(model.map((row) => row.name))
    }),
    { numRuns: 100 },
  )
})

test('the standard request of the benchmarks is what it says', () => {
  const bytes = standardRequest(3, 64)
  expect(type.verify(type.toObject(type.decode(bytes)))).toBeNull()
  const rows = naiveRows(bytes)
  expect(rows.length).toBe(64)
  for (const row of rows) {
    expect(row.attributes.length).toBe(12)
    expect(row.resourceAttributes.length).toBe(6)
    const prompt = row.attributes.find((one) => one.key === 'gen_ai.prompt')!.value[1] as string
    expect(Buffer.byteLength(prompt)).toBe(300)
  }
  expect(new Set(rows.map((row) => row.traceId)).size).toBe(8)
  expect(standardRequest(3, 64)).toEqual(bytes)
  expect(new Set([...rows, ...naiveRows(standardRequest(4, 64))].map((row) => row.spanId)).size).toBe(128)
})
