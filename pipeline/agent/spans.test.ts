import { describe, expect, it } from 'vitest'
import { decodeBatch } from '../batch/otlp-batch.ts'
import { keyId } from '../batch/keys.ts'
import { checkEvents } from './check.ts'
import { EventFault } from './event-fault.ts'
import { runIdOf, spanIdOf } from './ids.ts'
import { pair } from './number.ts'
import { endSpans, eventSpans } from './spans.ts'
import { testMeta } from '../../test/support/batch-meta.ts'

const meta = testMeta({ tenant: 'acme' })
const run = runIdOf('acme', '0190c0de-0000-7000-8000-00000000beef')
const at = (second: number) => `2026-03-01T10:00:${String(second).padStart(2, '0')}.123456789Z`

function spansOf(...values: readonly object[]) {
  const checked = checkEvents(values).map((event, index) => ({ ...event, seq: index + 1 }))
  const bytes = eventSpans([{ run, labels: { agentId: '7' }, events: pair(checked, []).events }])
  return decodeBatch(bytes, meta)
}

function textOf(batch: ReturnType<typeof spansOf>, row: number, key: string): string | undefined {
  const ref = batch.attr(row, keyId(key))
  return ref < 0 ? undefined : batch.text(ref)
}

describe('events as spans', () => {
  const request = (seq: number, action: string) => ({
    t: at(seq),
    actor: 'agent',
    type: 'action_request',
    payload: { action },
  })
  const response = (seq: number, rest: object = {}, meta: object = {}) => ({
    t: at(seq),
    actor: 'tool',
    type: 'action_response',
    payload: { status: 'success', latency_ms: 1500.5, ...rest },
    meta,
  })

  it('keeps a UUID as trace id, and hashes the rest with the tenant', () => {
    expect(run.trace).toBe('0190c0de00007000800000000000beef')
    expect(runIdOf('acme', '0190C0DE-0000-7000-8000-00000000BEEF').trace).toBe(run.trace)
    expect(runIdOf('acme', 'nightly').trace).not.toBe(runIdOf('other', 'nightly').trace)
    expect(runIdOf('acme', '00000000-0000-0000-0000-000000000000').trace).not.toMatch(/^0+$/)
  })

  it('hangs a response under the latest open request, or the one it names', () => {
    const batch = spansOf(request(1, 'a'), request(2, 'b'), response(3, {}, { request_seq: 1 }), response(4))
    expect([...batch.parentSpanId(0)]).toEqual([...spanIdOf(run, 'root')])
    expect([...batch.parentSpanId(2)]).toEqual([...spanIdOf(run, 1)])
    expect([...batch.parentSpanId(3)]).toEqual([...spanIdOf(run, 2)])
    expect([0, 1, 2, 3].map((row) => batch.name(row))).toEqual(
      ['a', 'b', 'a', 'b'].map((tool) => `execute_tool ${tool}`),
    )
    expect(textOf(batch, 0, 'gen_ai.operation.name')).toBeUndefined()
    expect(textOf(batch, 0, 'gen_ai.tool.name')).toBeUndefined()
    expect(textOf(batch, 2, 'gen_ai.operation.name')).toBe('execute_tool')
    expect(textOf(batch, 2, 'gen_ai.tool.name')).toBe('a')
    expect(batch.endNs(2)).toBe(1_772_359_203_123_456_789n)
    expect(batch.durationNs(2)).toBe(1_500_500_000n)
  })

  it.each([
    ['success', 1, undefined],
    ['retry', 1, 'true'],
    ['error', 2, undefined],
    ['timeout', 2, undefined],
  ])('gives a response of status %s the status code %i', (status, code, retry) => {
    const batch = spansOf(response(1, { status, error: 'no route' }))
    expect(batch.statusCode(0)).toBe(code)
    expect(textOf(batch, 0, 'retry')).toBe(retry)
    expect(batch.statusMessage(0)).toBe(code === 2 ? 'no route' : '')
  })

  it('keeps the payload as canonical JSON, and unknown keys of it and of meta', () => {
    const batch = spansOf({
      t: at(1),
      actor: 'agent',
      type: 'reasoning',
      payload: { thought: 'é', z: 1e21, a: { '\u20ac': 1, $: 2 }, ['__proto__']: { x: 1 } },
      meta: {
        run_id: run.id,
        shard: 3,
        'gen_ai.request.seed': 5,
        model: 'gpt-5',
        usage: { input_tokens: 3 },
      },
    })
    expect(textOf(batch, 0, 'toon.payload')).toBe(
      '{"__proto__":{"x":1},"a":{"$":2,"€":1},"thought":"é","z":1e+21}',
    )
    expect(textOf(batch, 0, 'toon.meta')).toBe('{"shard":3}')
    expect(textOf(batch, 0, 'gen_ai.request.seed')).toBe('5')
    expect(textOf(batch, 0, 'gen_ai.request.model')).toBe('gpt-5')
    expect(textOf(batch, 0, 'gen_ai.usage.input_tokens')).toBe('3')
    expect(textOf(batch, 0, 'toon.seq')).toBe('1')
    expect(textOf(batch, 0, 'agent.run.id')).toBe(run.id)
  })

  it('writes the root and an error for each request without a response', () => {
    const end = {
      run,
      labels: { agentId: '7' },
      startNs: 5n,
      endNs: 9_000_000_000n,
      attributes: [],
      caller: undefined,
    }
    const bytes = endSpans({
      ...end,
      status: 'failed',
      message: 'gave up',
      open: [{ seq: 4, action: 'pay', atMs: 3 }],
    })
    const batch = decodeBatch(bytes, meta)
    expect([batch.name(0), batch.statusCode(0), batch.statusMessage(0)]).toEqual([
      'invoke_agent 7',
      2,
      'gave up',
    ])
    expect(textOf(batch, 0, 'agent.run.status')).toBe('failed')
    expect([...batch.spanId(0)]).toEqual([...spanIdOf(run, 'root')])
    expect([batch.name(1), batch.statusCode(1)]).toEqual(['execute_tool pay', 2])
    expect([...batch.parentSpanId(1)]).toEqual([...spanIdOf(run, 4)])
  })
})

describe('checking events', () => {
  const event = { t: at(1), actor: 'agent', type: 'reasoning', payload: { thought: 'x' } }

  it.each([
    [{ ...event, actor: 'nobody' }, 'actor'],
    [{ ...event, type: 'thinking' }, 'type'],
    [{ ...event, t: 'yesterday' }, 't'],
    [{ ...event, t: '2026-02-30T00:00:00Z' }, 't'],
    [{ ...event, t: '1969-12-31T23:59:59Z' }, 't'],
    [{ ...event, seq: -1 }, 'seq'],
    [{ ...event, seq: 1.5 }, 'seq'],
    [{ ...event, payload: { thought: 1 } }, 'payload.thought'],
    [{ ...event, payload: 'text' }, 'payload'],
    [{ ...event, payload: { thought: '\ud800' } }, 'payload'],
    [{ ...event, typo: 1 }, 'typo'],
    [{ ...event, meta: { run_id: '' } }, 'meta.run_id'],
    [{ ...event, type: 'action_response', payload: { status: 'maybe' } }, 'payload.status'],
    [{ ...event, type: 'action_request', payload: {} }, 'payload.action'],
    [JSON.parse(`{"payload":${'['.repeat(100)}${']'.repeat(100)}}`), ''],
    [null, ''],
    [[], ''],
  ])('names the place in %j', (value, field) => {
    const check = () => checkEvents([event, value])
    expect(check).toThrow(EventFault)
    try {
      check()
    } catch (error) {
      expect((error as EventFault).errors[0]).toMatchObject({ index: 1, field })
      expect((error as EventFault).code).toBe('EVENT_INVALID')
    }
  })

  it('bounds the batch, the event and the payload', () => {
    const codeOf = (values: readonly unknown[]) => {
      try {
        checkEvents(values)
      } catch (error) {
        return (error as EventFault).code
      }
      return 'none'
    }
    expect(codeOf(Array.from({ length: 200 }, () => event))).toBe('none')
    expect(codeOf(Array.from({ length: 201 }, () => event))).toBe('EVENT_TOO_LARGE')
    const big = { ...event, payload: { thought: 'x'.repeat(512 * 1024) } }
    expect(codeOf([big])).toBe('EVENT_TOO_LARGE')
    const broad = { ...event, meta: { note: 'x'.repeat(1024 * 1024) } }
    expect(codeOf([broad])).toBe('EVENT_TOO_LARGE')
  })
})
