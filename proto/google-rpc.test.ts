import { fileURLToPath } from 'node:url'
import protobuf from 'protobufjs'
import { describe, expect, test } from 'vitest'
import { decodeStatus, encodeStatus, type RpcStatus, statusFromJson, statusToJson } from './google-rpc.ts'
import { WireError } from './wire.ts'

const vendor = fileURLToPath(new URL('./vendor/', import.meta.url))
const root = new protobuf.Root()
root.resolvePath = (_, target) => (target.startsWith('google/protobuf') ? target : vendor + target)
root.loadSync(['google/rpc/status.proto', 'google/rpc/error_details.proto'], { keepCase: true })

const STATUS: RpcStatus = {
  code: 14,
  message: 'überlastet',
  details: [{ retryMs: 1500 }, { violations: [{ field: 'resource_spans[0]', description: 'too large' }] }],
}

describe('Status', () => {
  test('is what protobufjs reads by the vendored .proto files', () => {
    const type = root.lookupType('google.rpc.Status')
    const status = type.toObject(type.decode(encodeStatus(STATUS)), { bytes: Buffer, defaults: true })
    expect(status).toMatchObject({ code: 14, message: 'überlastet' })
    const [retry, bad] = status['details'] as { type_url: string; value: Buffer }[]
    expect(retry!.type_url).toBe('type.googleapis.com/google.rpc.RetryInfo')
    const info = root.lookupType('google.rpc.RetryInfo')
    expect(info.toObject(info.decode(retry!.value), { longs: Number })).toEqual({
      retry_delay: { seconds: 1, nanos: 500_000_000 },
    })
    expect(bad!.type_url).toBe('type.googleapis.com/google.rpc.BadRequest')
    const request = root.lookupType('google.rpc.BadRequest')
    expect(request.toObject(request.decode(bad!.value))).toEqual({
      field_violations: [{ field: 'resource_spans[0]', description: 'too large' }],
    })
  })

  test('reads back, in both forms', () => {
    for (const status of [
      STATUS,
      { code: 0, message: '' },
      { code: 3, message: 'x', details: [{ retryMs: 0 }] },
    ]) {
      expect(decodeStatus(encodeStatus(status))).toEqual(status)
      expect(statusFromJson(statusToJson(status))).toEqual(status)
    }
  })

  test('has the proto3 JSON form', () => {
    expect(JSON.parse(statusToJson(STATUS))).toEqual({
      code: 14,
      message: 'überlastet',
      details: [
        { '@type': 'type.googleapis.com/google.rpc.RetryInfo', retryDelay: '1.5s' },
        {
          '@type': 'type.googleapis.com/google.rpc.BadRequest',
          fieldViolations: [{ field: 'resource_spans[0]', description: 'too large' }],
        },
      ],
    })
    expect(statusToJson({ code: 0, message: '' })).toBe('{}')
  })

  test('of a peer that sends nonsense is refused, or as little as there is', () => {
    expect(() => decodeStatus(Uint8Array.of(0x12, 9))).toThrow(WireError)
    for (const json of ['', '[]', 'null', '"x"', '{']) expect(statusFromJson(json)).toBeUndefined()
    expect(statusFromJson('{"code":"x","details":[1,null,{"@type":"other"}]}')).toEqual({
      code: 0,
      message: '',
    })
    const text = '{"details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"soon"}]}'
    expect(statusFromJson(text)?.details).toEqual([{ retryMs: 0 }])
  })
})
