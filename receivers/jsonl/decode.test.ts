import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Batch } from '../../pipeline/batch/batch.ts'
import { keyId } from '../../pipeline/batch/keys.ts'
import { decodeBatch } from '../../pipeline/batch/otlp-batch.ts'
import { factsOf } from '../../pipeline/genai/facts-of.ts'
import { traceIdOf } from '../../pipeline/agent/ids.ts'
import { config } from './config.ts'
import { Decoder } from './decode.ts'
import { LineError } from './line-error.ts'
import { testMeta } from '../../test/support/batch-meta.ts'

const PLACE = { tenant: 'acme', fileId: 'f1', path: '/logs/agent.jsonl', receivedAtMs: 1_790_000_000_000 }

function decode(lines: readonly (string | object)[], options: Record<string, unknown> = {}): Batch {
  const range = new Decoder(config.parse({ include: ['x'], ...options })).range(PLACE)
  for (const [at, line] of lines.entries()) {
    range.add(Buffer.from(typeof line === 'string' ? line : JSON.stringify(line)), at * 1000)
  }
  return decodeBatch(range.take().bytes, {
    signal: 'traces',
    tenant: 'acme',
    project: '',
    principal: '',
    source: 'jsonl/file',
    receivedAtMs: PLACE.receivedAtMs,
    digest: new Uint8Array(16),
  })
}

const text = (batch: Batch, row: number, key: string) => batch.text(batch.attr(row, keyId(key)))
const has = (batch: Batch, row: number, key: string) => batch.attr(row, keyId(key)) >= 0
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

const TRACE = '0af7651916cd43dd8448eb211c80319c'

describe('audit events', () => {
  const base = {
    event_version: '3.0',
    trace_id: TRACE,
    span_id: '00f067aa0ba902b7',
    parent_span_id: '1122334455667788',
    timestamp: '2026-09-01T10:00:01.500000+00:00',
    agent: 'benefits',
    action: 'search_benefits',
    status: 'ok',
    latency_ms: 1500.25,
  }

  it('a model call with its tokens and cost', () => {
    const batch = decode([
      {
        ...base,
        event_type: 'llm.invoke',
        tokens_input: 1200,
        tokens_output: 80,
        cost_usd: 0.0042,
        data: { model: 'claude-3-haiku', provider: 'anthropic', session_id: 's1', prompt: 'hi' },
      },
    ])
    expect(hex(batch.traceId(0))).toBe(TRACE)
    expect(hex(batch.spanId(0))).toBe('00f067aa0ba902b7')
    expect(hex(batch.parentSpanId(0))).toBe('1122334455667788')
    expect(batch.name(0)).toBe('chat claude-3-haiku')
    expect(batch.endNs(0)).toBe(BigInt(Date.parse('2026-09-01T10:00:01.500Z')) * 1_000_000n)
    expect(batch.durationNs(0)).toBe(1_500_250_000n)
    expect(batch.statusCode(0)).toBe(1)
    expect(text(batch, 0, 'audit.data')).toContain('"prompt":"hi"')
    const facts = factsOf(batch)
    expect(facts.operation.at(0)).toBe('chat')
    expect(facts.requestModel.at(0)).toBe('claude-3-haiku')
    expect(facts.leaf[0]).toBe(1)
    expect(facts.agentName.at(0)).toBe('benefits')
    expect(facts.sessionId.at(0)).toBe('s1')
    expect(facts.runId.at(0)).toBe(TRACE)
    expect([...facts.tokens].filter((count) => count > 0)).toEqual([1200, 80])
  })

  it('hashes short ids with the tenant, parents alike', () => {
    const short = { ...base, trace_id: 'a1b2c3d4e5f6', span_id: 'deadbeef', parent_span_id: null }
    const batch = decode([
      { ...short, event_type: 'request.end' },
      { ...short, event_type: 'tool.result', span_id: 'cafebabe', parent_span_id: 'deadbeef' },
    ])
    expect(hex(batch.traceId(0))).toBe(traceIdOf('acme', 'a1b2c3d4e5f6').toString('hex'))
    expect(hex(batch.parentSpanId(0))).toBe('')
    expect(batch.parentSpanId(1)).toEqual(batch.spanId(0))
    expect(text(batch, 0, 'agent.run.id')).toBe('a1b2c3d4e5f6')
  })

  it('what begins hangs under the span of what ends it', () => {
    const batch = decode([
      { ...base, event_type: 'tool.call', latency_ms: null },
      { ...base, event_type: 'tool.result' },
    ])
    expect(batch.parentSpanId(0)).toEqual(batch.spanId(1))
    expect(hex(batch.spanId(1))).toBe('00f067aa0ba902b7')
    expect([0, 1].map((row) => factsOf(batch).operation.at(row))).toEqual(['', 'execute_tool'])
    expect([0, 1].map((row) => factsOf(batch).toolName.at(row))).toEqual(['', 'search_benefits'])
  })

  it.each([
    ['error', 2, 'no rows'],
    ['timeout', 2, 'no rows'],
    ['retry', 1, ''],
    ['ok', 1, ''],
  ])('status %s', (status, code, message) => {
    const error = {
      type: 'ValueError',
      message: 'no rows',
      traceback: 'Trace…',
      recoverable: false,
      input_snapshot: { q: 1 },
    }
    const batch = decode([{ ...base, event_type: 'tool.error', status, ...(code === 2 && { error }) }])
    expect([batch.statusCode(0), batch.statusMessage(0)]).toEqual([code, message])
    expect(has(batch, 0, 'retry')).toBe(status === 'retry')
    if (code !== 2) return
    expect(text(batch, 0, 'error.type')).toBe('ValueError')
    expect(text(batch, 0, 'exception.stacktrace')).toBe('Trace…')
    expect(text(batch, 0, 'audit.error.input_snapshot')).toBe('{"q":1}')
  })

  it.each(['cache.hit', 'prompt.efficiency', 'agent.fallback', 'request.end'])(
    'a %s with tokens is no model call of its own',
    (type) => {
      const event = { ...base, event_type: type, tokens_input: 12, cost_usd: 1, data: { model: 'gpt-4o' } }
      const facts = factsOf(decode([event]))
      expect([facts.leaf[0], facts.tokens[0], facts.requestModel.at(0)]).toEqual([0, 0, 'gpt-4o'])
    },
  )

  it.each([
    [{ status: 'fine' }, 'status'],
    [{ trace_id: '' }, 'trace_id'],
    [{ timestamp: 'yesterday' }, 'timestamp'],
    [{ latency_ms: -1 }, 'latency_ms'],
  ])('names the field that is wrong, not its value: %j', (change, field) => {
    const bad = { ...base, event_type: 'llm.invoke', ...change }
    expect(() => decode([bad])).toThrow(new RegExp(`^audit event: ${field}`))
  })
})

describe('mapping', () => {
  const mapping = {
    trace_id: 'request.id',
    span_id: 'span',
    name: 'event',
    time: 'ts',
    duration: 'took',
    status: 'outcome',
    message: 'why',
    attributes: { 'gen_ai.request.model': 'request.model', flat: 'a.b' },
  }

  it('takes the fields from where it says, and the rest as they are', () => {
    const batch = decode(
      [
        {
          request: { id: 'r1', model: 'm' },
          event: 'call',
          ts: 1_790_000_000.5,
          took: 250,
          outcome: 'FAILED',
          why: 'no',
          'a.b': 'dotted',
          n: 1.5,
          nested: { x: [1] },
          yes: true,
          nothing: null,
        },
      ],
      { mapping, resource: { 'service.name': 'svc' }, attributes: { env: 'test' } },
    )
    expect(batch.name(0)).toBe('call')
    expect(hex(batch.traceId(0))).toBe(traceIdOf('acme', 'r1').toString('hex'))
    expect(batch.endNs(0)).toBe(1_790_000_000_500_000_000n)
    expect(batch.durationNs(0)).toBe(250_000_000n)
    expect([batch.statusCode(0), batch.statusMessage(0)]).toEqual([2, 'no'])
    expect(text(batch, 0, 'flat')).toBe('dotted')
    expect(text(batch, 0, 'gen_ai.request.model')).toBe('m')
    expect(text(batch, 0, 'nested')).toBe('{"x":[1]}')
    expect(text(batch, 0, 'env')).toBe('test')
    expect(batch.text(batch.resourceAttr(0, keyId('service.name')))).toBe('svc')
    expect(batch.text(batch.resourceAttr(0, keyId('log.file.name')))).toBe('agent.jsonl')
  })

  it('gives equal lines at different places different spans, and the same line the same', () => {
    const again = [
      decode([{ a: 1 }, { a: 1 }], { mapping: {} }),
      decode([{ a: 1 }, { a: 1 }], { mapping: {} }),
    ]
    const ids = again.map((batch) => [0, 1].map((row) => hex(batch.spanId(row))))
    expect(ids[0]).toEqual(ids[1])
    expect(ids[0]?.[0]).not.toBe(ids[0]?.[1])
  })

  it.each([
    ['2026-09-01T10:00:00Z', 1_788_256_800_000_000_000n],
    ['2026-09-01T10:00:00.123456789+02:00', 1_788_249_600_123_456_789n],
    [1_788_256_800, 1_788_256_800_000_000_000n],
    [1_788_256_800_123, 1_788_256_800_123_000_000n],
    ['1788256800123456789', 1_788_256_800_123_456_789n],
  ])('tells the time of %s', (ts, expected) => {
    expect(decode([{ ts }], { mapping }).endNs(0)).toBe(expected)
  })
})

describe('lines of other kinds', () => {
  it('OTLP in the midst of others keeps its place', () => {
    const otlp = (name: string) => ({
      resourceSpans: [{ scopeSpans: [{ spans: [{ traceId: TRACE, spanId: '00f067aa0ba902b7', name }] }] }],
    })
    const batch = decode([{ n: 'a' }, otlp('b'), { ...otlp('c'), other: 1 }, { n: 'd' }, { n: 'e' }], {
      mapping: { name: 'n' },
    })
    expect([0, 1, 2, 3, 4].map((row) => batch.name(row))).toEqual(['a', 'b', 'c', 'd', 'e'])
  })

  it.each([
    ['{"resourceLogs":[]}', /resourceLogs: weir takes traces only/],
    ['{"hello":1}', /no format that is known/],
    ['{"a":', /no JSON object/],
    ['null', /no JSON object/],
    ['{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"zz"}]}]}]}', /traceId/],
  ])('%s is refused with its reason', (line, reason) => {
    expect(() => decode([line])).toThrow(reason)
  })

  it('of a key of a toon event that is none is refused without the key', () => {
    const line = {
      t: '2026-01-01T00:00:00Z',
      actor: 'agent',
      type: 'reasoning',
      payload: {},
      'bob@corp.io': 1,
    }
    expect(() => decode([JSON.stringify({ ...line, meta: { run_id: 'r' } })])).toThrow(
      /^toon event: it has a key/,
    )
  })

  it('a line of logs is refused by the format otlp_json too', () => {
    expect(() => decode(['{"resourceMetrics":[]}'], { format: 'otlp_json' })).toThrow(/resourceMetrics/)
  })
})

it('hostile JSON is decoded or refused, never anything else, and __proto__ is data', () => {
  const decoder = new Decoder(
    config.parse({ include: ['x'], mapping: { name: 'n', time: 't', status: 's' } }),
  )
  const keys = fc.constantFrom(
    '__proto__',
    'constructor',
    'n',
    't',
    's',
    'trace_id',
    'span_id',
    'event_type',
    'timestamp',
    'status',
    'resourceSpans',
    'data',
    'error',
  )
  const value = fc.letrec((tie) => ({
    any: fc.oneof(
      { maxDepth: 4 },
      fc.string(),
      fc.double(),
      fc.bigInt().map(Number),
      fc.boolean(),
      fc.constant(null),
      fc.array(tie('any'), { maxLength: 3 }),
      tie('object'),
    ),
    object: fc.dictionary(keys, tie('any'), { maxKeys: 8, noNullPrototype: true }),
  })).object
  fc.assert(
    fc.property(
      fc.oneof(
        value.map((made) => JSON.stringify(made)),
        fc.string(),
        fc.json(),
      ),
      (line) => {
        const range = decoder.range(PLACE)
        try {
          range.add(Buffer.from(line), 0)
        } catch (error) {
          expect(error).toBeInstanceOf(LineError)
        }
        decodeBatch(range.take().bytes, testMeta({ tenant: 'a' }))
      },
    ),
    { numRuns: 2000 },
  )
  expect(({} as Record<string, unknown>)['n']).toBeUndefined()
})
