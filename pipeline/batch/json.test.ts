import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { naiveRows } from '../../test/otlp/naive.ts'
import { expected, META, rowsOf } from '../../test/otlp/rows-of.ts'
import { Fault } from '../fault.ts'
import { ATTR, type AttrRef, type Batch } from './batch.ts'
import { keyId } from './keys.ts'
import { decodeBatch, decodeJsonBatch } from './otlp-batch.ts'

const decode = (json: unknown): Batch =>
  decodeJsonBatch(Buffer.from(typeof json === 'string' ? json : JSON.stringify(json)), META)

/** A request of one span. */
const request = (span: object): object => ({ resourceSpans: [{ scopeSpans: [{ spans: [span] }] }] })
const valued = (value: object): Batch => decode(request({ attributes: [{ key: 'k', value }] }))
const K = keyId('k')

function errorOf(json: unknown): string {
  try {
    decode(json)
  } catch (error) {
    expect(error).toBeInstanceOf(Fault)
    expect((error as Fault).code).toBe('BATCH_MALFORMED')
    expect((error as Fault).verdict).toEqual({ do: 'reject' })
    return (error as Fault).message
  }
  return 'none'
}

/** specification.md "JSON Protobuf Encoding"; each test names its rule. */
describe('the rules of OTLP/JSON', () => {
  test('ids are hex in any case', () => {
    const ids = {
      traceId: '5B8EFFF798038103d269b633813fc60c',
      spanId: 'EEE19B7EC3C1B174',
      parentSpanId: 'eee19b7ec3c1b173',
    }
    const [row] = rowsOf(decode(request({ ...ids, links: [ids] })))
    expect(row).toMatchObject({
      traceId: '5b8efff798038103d269b633813fc60c',
      spanId: 'eee19b7ec3c1b174',
      parentSpanId: 'eee19b7ec3c1b173',
      links: [{ traceId: '5b8efff798038103d269b633813fc60c', spanId: 'eee19b7ec3c1b174' }],
    })
  })

  test('64-bit integers are strings or numbers, exact in both', () => {
    const text = `{"resourceSpans":[{"scopeSpans":[{"spans":[
      {"startTimeUnixNano":"1544712660123456789","endTimeUnixNano":1544712660123456789,"attributes":[
        {"key":"k","value":{"intValue":-9223372036854775808}},
        {"key":"l","value":{"intValue":"9223372036854775807"}},
        {"key":"m","value":{"intValue": 12}}]}]}]}]}`
    const [row] = rowsOf(decode(text))
    expect(row!.startNs).toBe(1544712660123456789n)
    expect(row!.endNs).toBe(1544712660123456789n)
    expect(row!.attributes.map((one) => one.text)).toEqual([
      '-9223372036854775808',
      '9223372036854775807',
      '12',
    ])
  })

  test('long numbers inside of strings, and doubles of many digits, stay what they are', () => {
    const prompt = 'ids [1234567890123456789, -1234567890123456789] "quoted: 1234567890123456789" \\'
    const text = `{"resourceSpans":[{"scopeSpans":[{"spans":[{"startTimeUnixNano":1544712660123456789,"attributes":[
      {"key":"k","value":{"stringValue":${JSON.stringify(prompt)}}},
      {"key":"l","value":{"doubleValue":12345678901234567890}},
      {"key":"m","value":{"doubleValue":0.12345678901234567}},
      {"key":"n","value":{"doubleValue":12345678901234567890.5e-2}}]}]}]}]}`
    const [row] = rowsOf(decode(text))
    expect(row!.attributes[0]!.string).toBe(prompt)
    expect(row!.attributes.slice(1).map((one) => one.number)).toEqual(
      ['12345678901234567890', '0.12345678901234567', '12345678901234567890.5e-2'].map(Number),
    )
  })

  test('enums are integers only', () => {
    expect(decode(request({ kind: 2, status: { code: 2 } })).kind(0)).toBe(2)
    expect(errorOf(request({ kind: 'SPAN_KIND_SERVER' }))).toBe(
      'resourceSpans[0].scopeSpans[0].spans[0].kind: expected the number of an enum value, got a string',
    )
  })

  test('unknown fields are ignored, snake_case ones too', () => {
    const span = { name: 'a', start_time_unix_nano: 'x', trace_id: 7, future: { deep: [1, { a: null }] } }
    const [row] = rowsOf(decode({ ...request(span), resource_spans: 'x' }))
    expect(row).toMatchObject({ name: 'a', startNs: 0n, traceId: '' })
  })

  test('null is unset', () => {
    const [row] = rowsOf(
      decode(request({ name: null, attributes: null, events: null, status: null, traceId: null })),
    )
    expect(row).toMatchObject({ name: '', attributes: [], events: [], statusCode: 0, traceId: '' })
    expect(decode({ resourceSpans: null }).rows).toBe(0)
    expect(valued({ stringValue: null, intValue: '3' }).number(valued({ intValue: '3' }).attr(0, K))).toBe(3)
  })

  test('doubles may be NaN and infinities, and strings', () => {
    const numberOf = (doubleValue: unknown): number => {
      const batch = valued({ doubleValue })
      return batch.number(batch.attr(0, K))
    }
    expect(numberOf('NaN')).toBeNaN()
    expect(numberOf('Infinity')).toBe(Number.POSITIVE_INFINITY)
    expect(numberOf('-Infinity')).toBe(Number.NEGATIVE_INFINITY)
    expect(numberOf('1.5e3')).toBe(1500)
    expect(numberOf(1.25)).toBe(1.25)
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -0]) {
      const batch = valued({ doubleValue: Object.is(value, -0) ? '-0' : String(value) })
      const back = decode(batch.toJson())
      expect(back.number(back.attr(0, K))).toBe(value)
    }
  })

  test('bytes are base64, standard or URL-safe, padded or not', () => {
    for (const bytesValue of ['+/+/AA==', '-_-_AA==', '-_-_AA', '+/+/AA']) {
      const batch = valued({ bytesValue })
      expect(batch.text(batch.attr(0, K))).toBe('+/+/AA==')
    }
  })

  test('a member of a oneof counts even when it is zero', () => {
    const types = [
      { stringValue: '' },
      { boolValue: false },
      { intValue: 0 },
      { doubleValue: 0 },
      { bytesValue: '' },
      {},
    ]
    const seen = types.map((value) => {
      const batch = decode(valued(value).toJson())
      return batch.type(batch.attr(0, K))
    })
    expect(seen).toEqual([ATTR.string, ATTR.bool, ATTR.int, ATTR.double, ATTR.bytes, ATTR.empty])
  })

  test('of a key that comes twice the last one counts', () => {
    expect(decode('{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"a","name":"b"}]}]}]}').name(0)).toBe(
      'b',
    )
  })

  test('__proto__ and its like are data', () => {
    const text = `{"__proto__":{"resourceSpans":[{}]},"constructor":1,"resourceSpans":[{"scopeSpans":[{"spans":[
      {"__proto__":{"name":"polluted"},"attributes":[{"key":"__proto__","value":{"kvlistValue":{"values":[
        {"key":"__proto__","value":{"stringValue":"x"}},{"key":"toString"}]}}}]}]}]}]}`
    const batch = decode(text)
    const [row] = rowsOf(decode(batch.toJson()))
    expect(row!.name).toBe('')
    expect(row!.attributes).toMatchObject([{ key: '__proto__', text: '{"__proto__":"x","toString":null}' }])
    expect(({} as Record<string, unknown>)['name']).toBeUndefined()
  })

  test('zero values and empty lists are left out of what is written', () => {
    expect(JSON.parse(decode(request({ name: '', kind: 0, startTimeUnixNano: '0' })).toJson())).toEqual(
      request({}),
    )
  })
})

describe('refused, with the path', () => {
  const at = 'resourceSpans[0].scopeSpans[0].spans[0]'
  test.each<[unknown, string]>([
    ['', 'the body is not JSON'],
    ['secret', 'the body is not JSON'],
    ['{"a":1 "b"}', 'the body is not JSON at position 7'],
    ['[]', 'expected an object, got an array'],
    ['null', 'expected an object, got null'],
    ['7', 'expected an object, got a number'],
    ['1234567890123456789', 'expected an object, got a number'],
    [{ resourceSpans: {} }, 'resourceSpans: expected an array, got an object'],
    [{ resourceSpans: [null] }, 'resourceSpans[0]: expected a value, got null'],
    [{ resourceSpans: [{ resource: 'x' }] }, 'resourceSpans[0].resource: expected an object, got a string'],
    [request({ name: 5 }), `${at}.name: expected a string, got a number`],
    [
      '{"resourceSpans":[{"schemaUrl":1234567890123456789}]}',
      'resourceSpans[0].schemaUrl: expected a string, got a number',
    ],
    [request({ startTimeUnixNano: '12x' }), `${at}.startTimeUnixNano: expected an integer, got a string`],
    [request({ startTimeUnixNano: '' }), `${at}.startTimeUnixNano: expected an integer, got a string`],
    [request({ startTimeUnixNano: 1.5 }), `${at}.startTimeUnixNano: expected an integer, got a number`],
    [request({ startTimeUnixNano: -1 }), `${at}.startTimeUnixNano: -1 is out of range`],
    [
      request({ startTimeUnixNano: '18446744073709551616' }),
      `${at}.startTimeUnixNano: 18446744073709551616 is out of range`,
    ],
    [request({ traceId: 'abc' }), `${at}.traceId: expected 32 hex digits, got 3 characters`],
    [request({ spanId: 'zzzzzzzzzzzzzzzz' }), `${at}.spanId: expected hex digits only`],
    [
      request({ traceId: 'W47/95gDgQPSabYzgT/GDA==' }),
      `${at}.traceId: expected 32 hex digits, got 24 characters`,
    ],
    [
      '{"resourceSpans":[{"scopeSpans":[{"spans":[{"attributes":[{"value":{"doubleValue":1e999}}]}]}]}]}',
      `${at}.attributes[0].value.doubleValue: the number is out of range`,
    ],
    [request({ droppedLinksCount: 2 ** 32 }), `${at}.droppedLinksCount: 4294967296 is out of range`],
    [
      request({ attributes: [{ key: 'k', value: { boolValue: 1 } }] }),
      `${at}.attributes[0].value.boolValue: expected true or false, got a number`,
    ],
    [
      request({ attributes: [{ key: 'k', value: { intValue: '1', stringValue: 'a' } }] }),
      `${at}.attributes[0].value.intValue: stringValue is set as well; a value is one of the two`,
    ],
    [
      request({ attributes: [{ key: 'k', value: { bytesValue: '*' } }] }),
      `${at}.attributes[0].value.bytesValue: expected base64`,
    ],
  ])('%j', (json, message) => {
    expect(errorOf(json)).toBe(message)
  })

  test('values that nest too deep', () => {
    const nested = (depth: number): string =>
      JSON.stringify(request({ attributes: [{ key: 'k', value: 0 }] })).replace(
        '"value":0',
        `"value":${'{"arrayValue":{"values":['.repeat(depth)}{"intValue":1}${']}}'.repeat(depth)}`,
      )
    expect(errorOf(nested(63))).toBe('none')
    expect(errorOf(nested(64))).toMatch(/nest deeper than 64/)
    expect(errorOf(nested(100_000))).toMatch(/nest deeper than 64/)
  })
})

test('literals and strings of any length are refused or taken, not stumbled over', () => {
  const digits = '1'.repeat(5_000_000)
  const at = 'resourceSpans[0].scopeSpans[0].spans[0]'
  const text = '{"resourceSpans":[{"scopeSpans":[{"spans":[{"startTimeUnixNano":1}]}]}]}'
  expect(errorOf(text.replace('1', digits))).toBe(
    `${at}.startTimeUnixNano: expected an integer, got a number`,
  )
  expect(errorOf(text.replace('1', `"${digits}"`))).toBe(
    `${at}.startTimeUnixNano: expected an integer, got a string`,
  )
  expect(errorOf(text.replace('1', `0.${digits}`))).toBe(
    `${at}.startTimeUnixNano: expected an integer, got a number`,
  )
  const bytesValue = 'A'.repeat(8_000_000)
  expect(valued({ bytesValue }).size(0 as AttrRef)).toBe(6_000_000)
  expect(errorOf(request({ attributes: [{ value: { bytesValue: `${bytesValue}=A` } }] }))).toMatch(
    /expected base64$/,
  )
})

describe('real traces', () => {
  const folder = '../shared/data/traces/otlp'
  test('go through protobuf and back unchanged', (ctx) => {
    if (!existsSync(folder)) {
      ctx.skip('the shared data is not beside the repository')
      return
    }
    const files = readdirSync(folder).filter((name) => name.endsWith('.otlp.json.gz'))
    expect(files.length).toBeGreaterThan(5)
    for (const file of files) {
      const text = gunzipSync(readFileSync(`${folder}/${file}`))
      const batch = decodeJsonBatch(text, META)
      expect(batch.rows).toBeGreaterThan(0)
      expect(rowsOf(batch)).toEqual(expected(naiveRows(batch.encode())))
      const json = decodeBatch(batch.encode(), META).toJson()
      expect(normal(JSON.parse(json))).toEqual(normal(JSON.parse(text.toString())))
    }
  })

  test('the example of opentelemetry-proto goes through unchanged', () => {
    const text = readFileSync(new URL('testdata/trace.json', import.meta.url), 'utf8')
    const batch = decode(text)
    const resource = batch.resourceAttr(0, keyId('service.name'))
    expect(batch.string(resource)).toBe('my.service')
    expect(batch.scopeName(0)).toBe('my.library')
    expect(batch.name(0)).toBe("I'm a server span")
    expect(normal(JSON.parse(batch.toJson()))).toEqual(normal(JSON.parse(text)))
  })
})

/** What two equal documents may write differently: hex case, integers as numbers or strings, zero values. */
function normal(value: unknown, name = ''): unknown {
  if (Array.isArray(value)) return value.map((item) => normal(item))
  if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value).map(([key, item]) => [key, normal(item, key)] as const)
    return Object.fromEntries(entries.filter(([key, item]) => key.endsWith('Value') || !isZero(item)))
  }
  if (name.endsWith('Id') && typeof value === 'string') return value.toLowerCase()
  return (name.endsWith('UnixNano') || name === 'intValue') && typeof value === 'number'
    ? String(value)
    : value
}

function isZero(value: unknown): boolean {
  return (
    value === 0 ||
    value === '' ||
    value === '0' ||
    value === null ||
    (Array.isArray(value) && value.length === 0)
  )
}
