import { fileURLToPath } from 'node:url'
import protobuf from 'protobufjs'
import { expect, test } from 'vitest'
import { WireError } from '../wire.ts'
import {
  decodeExportTraceResponse,
  encodeExportTraceResponse,
  exportTraceResponseFromJson,
  exportTraceResponseToJson,
} from './response.ts'

const vendor = fileURLToPath(new URL('../vendor/', import.meta.url))
const root = new protobuf.Root()
root.resolvePath = (_, target) => vendor + target
root.loadSync('opentelemetry/proto/collector/trace/v1/trace_service.proto')
const type = root.lookupType('opentelemetry.proto.collector.trace.v1.ExportTraceServiceResponse')

test('full success leaves partial_success unset', () => {
  expect(encodeExportTraceResponse().length).toBe(0)
  expect(exportTraceResponseToJson()).toBe('{}')
  expect(decodeExportTraceResponse(new Uint8Array(0))).toBeUndefined()
  expect(exportTraceResponseFromJson('{}')).toBeUndefined()
})

test('an empty partial_success is full success', () => {
  expect(decodeExportTraceResponse(Uint8Array.of(0x0a, 0))).toBeUndefined()
  expect(exportTraceResponseFromJson('{"partialSuccess":{}}')).toBeUndefined()
  expect(exportTraceResponseFromJson('{"partialSuccess":null}')).toBeUndefined()
})

test.each([
  { rejectedSpans: 3, errorMessage: 'too old' },
  { rejectedSpans: 0, errorMessage: 'a warning' },
  { rejectedSpans: 2 ** 40, errorMessage: '' },
])('%j reads back, and protobufjs reads the same', (partial) => {
  const bytes = encodeExportTraceResponse(partial)
  expect(decodeExportTraceResponse(bytes)).toEqual(partial)
  const read = type.toObject(type.decode(bytes), { longs: Number, defaults: true })
  expect(read['partialSuccess']).toEqual(partial)
  const json = exportTraceResponseToJson(partial)
  expect(exportTraceResponseFromJson(json)).toEqual(partial)
  if (partial.rejectedSpans > 0) {
    expect(JSON.parse(json).partialSuccess.rejectedSpans).toBe(String(partial.rejectedSpans))
  }
})

test('a peer that sends nonsense', () => {
  expect(() => decodeExportTraceResponse(Uint8Array.of(0x0a, 9))).toThrow(WireError)
  for (const json of ['', 'null', '[]', '{', '{"partialSuccess":7}']) {
    expect(exportTraceResponseFromJson(json)).toBeUndefined()
  }
  expect(exportTraceResponseFromJson('{"partialSuccess":{"rejectedSpans":5,"errorMessage":7}}')).toEqual({
    rejectedSpans: 5,
    errorMessage: '',
  })
})
