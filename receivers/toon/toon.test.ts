import { gzipSync } from 'node:zlib'
import { encode } from '@toon-format/toon'
import { describe, expect, it } from 'vitest'
import { ACCEPTED } from '../../pipeline/consumer.ts'
import { reject, retry } from '../../pipeline/fault.ts'
import type { Batch } from '../../pipeline/batch/batch.ts'
import { stateKey } from '../../pipeline/state/state.ts'
import { createMeter } from '../../pipeline/telemetry/prom-meter.ts'
import { parsePrometheus } from '../../test/support/parse-prometheus.ts'
import { attribute, openState, reasoning, T, toonRig } from '../../test/support/toon-rig.ts'

const KEY = (key: string) => ({ 'idempotency-key': key })

describe('a run', () => {
  it('hangs responses under the latest open requests, of batches before and of requests that came late, too', async () => {
    const rig = await toonRig()
    await rig.ask('POST', '/v1/runs', { run_id: 'r', agent_id: 'a' })
    const request = (action: string, rest: object = {}) => ({
      t: T,
      actor: 'agent',
      type: 'action_request',
      payload: { action },
      ...rest,
    })
    const response = (meta?: object) => ({
      t: T,
      actor: 'tool',
      type: 'action_response',
      payload: { status: 'success' },
      ...(meta && { meta }),
    })
    const send = (events: readonly object[], key: string) =>
      rig.ask('POST', '/v1/runs/r/events', events, KEY(key))
    await send([request('a'), request('b'), response({ request_seq: 9 })], '1')
    await send([request('late', { seq: 9 }), response(), response()], '2')
    const [first, second] = rig.batches
    const parent = (row: number) => Buffer.from(second?.parentSpanId(row) ?? [])
    expect([1, 2].map((row) => second?.name(row))).toEqual(['execute_tool b', 'execute_tool a'])
    expect(parent(1).equals(first?.spanId(1) ?? Buffer.alloc(0))).toBe(true)
    expect(parent(2).equals(first?.spanId(0) ?? Buffer.alloc(0))).toBe(true)
  })

  it('takes some blank lines, not millions of them', async () => {
    const rig = await toonRig()
    await rig.ask('POST', '/v1/runs', { run_id: 'r', agent_id: 'a' })
    const type = { 'content-type': 'application/x-ndjson' }
    const send = (blank: number) =>
      rig.ask('POST', '/v1/runs/r/events', `${'\n'.repeat(blank)}${JSON.stringify(reasoning('x'))}`, type)
    expect(await send(1000)).toMatchObject({ status: 202 })
    expect(await send(1001)).toMatchObject({ status: 400, json: { type: 'urn:weir:batch-malformed' } })
  })

  it('that two start at once is the one of the first, with all that it said', async () => {
    const state = await openState()
    const rig = await toonRig({ state })
    const start = (team: string) =>
      rig.ask('POST', '/v1/runs', { run_id: 'r', agent_id: team, metadata: { team } })
    const answers = await Promise.all(['red', 'blue', 'green'].map(start))
    expect(answers.filter(({ status }) => status === 409)).toHaveLength(2)
    await rig.ask('POST', '/v1/runs/r/finish')
    const [root] = rig.batches as [Batch]
    const winner = ['red', 'blue', 'green'].find((_, at) => answers[at]?.status === 201)
    expect(attribute(root, 0, 'gen_ai.agent.id')).toBe(winner)
    expect(attribute(root, 0, 'agent.run.metadata.team')).toBe(winner)
    expect(await state.list(stateKey('run-info'))).toHaveLength(1)
  })

  it('is started, filled, read and finished, and becomes a trace', async () => {
    const rig = await toonRig()
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    const body = {
      agent_id: 7,
      agent_name: 'planner',
      agent_version: '1.2',
      scenario: 's1',
      seed: 5,
      model: 'gpt-5',
      temperature: 0.2,
      parameters: { top_p: 0.9, x: [1] },
      metadata: { team: 'red' },
      extra: true,
    }
    const started = await rig.ask('POST', '/v1/runs', body, { traceparent })
    expect(started).toMatchObject({
      status: 201,
      json: {
        status: 'running',
        run_id: expect.any(String),
        trace_id: expect.stringMatching(/^[0-9a-f]{32}$/),
      },
    })
    const run = `/v1/runs/${String(started.json['run_id'])}`
    expect(started.headers.get('location')).toBe(run)
    const events = [
      reasoning('think'),
      { t: T, actor: 'agent', type: 'action_request', payload: { action: 'search' } },
      { t: T, actor: 'agent', type: 'action_request', payload: { action: 'pay' } },
      {
        t: T,
        actor: 'tool',
        type: 'action_response',
        payload: { status: 'success', latency_ms: 20 },
        meta: { request_seq: 2 },
      },
    ]
    const sent = await rig.ask('POST', `${run}/events`, events, KEY('a'))
    expect(sent).toMatchObject({
      status: 202,
      json: { accepted: 4, first_seq: 1, last_seq: 4, duplicates: 0 },
    })
    expect((await rig.ask('GET', run)).json).toMatchObject({
      status: 'running',
      events: 4,
      last_seq: 4,
      agent_id: '7',
    })
    const finished = await rig.ask('POST', `${run}/finish`)
    expect(finished).toMatchObject({ status: 200, json: { status: 'completed', events: 4 } })
    expect((await rig.ask('POST', `${run}:finish`, { status: 'completed' })).text).toBe(finished.text)
    expect(await rig.ask('POST', `${run}/finish`, { status: 'failed' })).toMatchObject({ status: 409 })
    expect(await rig.ask('POST', `${run}/events`, reasoning('late'))).toMatchObject({
      status: 409,
      json: { type: 'urn:weir:run-closed' },
    })
    const [batch, end] = rig.batches
    expect(rig.batches).toHaveLength(2)
    expect(batch?.rows).toBe(4)
    expect(end?.name(0)).toBe('invoke_agent planner')
    expect(end?.rows).toBe(2)
    expect([end?.name(1), end?.statusCode(1)]).toEqual(['execute_tool pay', 2])
    const root = (key: string) => end && attribute(end, 0, key)
    expect(root('gen_ai.request.seed')).toBe('5')
    expect(root('gen_ai.request.top_p')).toBe('0.9')
    expect(root('agent.run.parameter.x')).toBe('[1]')
    expect(root('agent.run.metadata.team')).toBe('red')
    expect(root('agent.run.metadata.extra')).toBe('true')
    expect(root('agent.run.status')).toBe('completed')
    expect(end && Buffer.from(end.linkSpanId(end.links(0).first)).toString('hex')).toBe('b7ad6b7169203331')
    expect(batch && Buffer.from(batch.parentSpanId(0)).equals(end?.spanId(0) ?? Buffer.alloc(0))).toBe(true)
  })

  it('has an id of its own: asked for again the same way it is the same, otherwise it is refused', async () => {
    const rig = await toonRig()
    const first = await rig.ask('POST', '/v1/runs', { run_id: 'r/1', agent_id: 'a' })
    await rig.ask('POST', '/v1/runs/r%2F1/events', reasoning('x'))
    expect((await rig.ask('POST', '/v1/runs', { run_id: 'r/1', agent_id: 'a' })).text).toBe(first.text)
    expect(await rig.ask('POST', '/v1/runs', { run_id: 'r/1', agent_id: 'b' })).toMatchObject({
      status: 409,
      json: { type: 'urn:weir:run-exists' },
    })
    const byKey = await rig.ask('POST', '/v1/runs', { agent_id: 'a' }, KEY('k'))
    expect((await rig.ask('POST', '/v1/runs', { agent_id: 'a' }, KEY('k'))).text).toBe(byKey.text)
    expect((await rig.ask('POST', '/v1/runs', { agent_id: 'a' })).text).not.toBe(byKey.text)
  })

  it('has no id with half a character in it: no path could name it, nor tell it from another', async () => {
    const rig = await toonRig()
    const half = JSON.stringify({ run_id: 'r\ud800', agent_id: 'a' })
    const refused = { status: 422, json: { errors: [{ field: 'run_id' }] } }
    expect(await rig.ask('POST', '/v1/runs', half)).toMatchObject(refused)
    const event = { ...reasoning('x'), meta: { run_id: 'r\ud801' } }
    expect(await rig.ask('POST', '/v1/events', event)).toMatchObject({
      status: 422,
      json: { errors: [{ index: 0, field: 'meta.run_id' }] },
    })
  })

  it('answers on the older paths and aliases', async () => {
    const rig = await toonRig()
    expect(await rig.ask('POST', '/api/runs/', { run_id: 'old', agent_id: 1 })).toMatchObject({ status: 201 })
    expect(await rig.ask('POST', '/api/runs/old/events/', reasoning('a'))).toMatchObject({ status: 202 })
    expect(await rig.ask('POST', '/v1/runs/old/steps', reasoning('b'))).toMatchObject({
      json: { first_seq: 2 },
    })
    const events = ['c', 'd'].map((key) => reasoning(key, { meta: { run_id: 'old', idempotency_key: key } }))
    const many = await rig.ask('POST', '/api/trace-events/batch/', { events })
    expect(many).toMatchObject({
      status: 202,
      json: { accepted: 2, first_seq: 3, last_seq: 4, runs: [{ run_id: 'old' }] },
    })
    expect((await rig.ask('POST', '/api/trace-events/batch/', { events })).text).toBe(many.text)
    expect(await rig.ask('GET', '/api/runs/old/')).toMatchObject({ status: 200, json: { events: 4 } })
    expect(await rig.ask('POST', '/api/runs/old/finalize/', '')).toMatchObject({ status: 200 })
  })
})

describe('the address', () => {
  it('may not be one that others reach without TLS or auth', async () => {
    const config = { endpoint: '0.0.0.0:0' }
    await expect(toonRig({ config })).rejects.toMatchObject({ code: 'START_FAILED' })
    const rig = await toonRig({ config: { ...config, insecure_bind: true } })
    expect(rig.batches).toEqual([])
  })
})

describe('what a request may be', () => {
  it.each([
    ['application/json', (events: object[]) => JSON.stringify(events)],
    ['application/json; charset=utf-8', (events: object[]) => JSON.stringify({ events })],
    [
      'application/x-ndjson',
      (events: object[]) => events.map((event) => JSON.stringify(event)).join('\n') + '\n\n',
    ],
    ['text/toon', (events: object[]) => encode(events)],
    ['text/toon', (events: object[]) => encode({ events })],
  ])('takes %s', async (type, write) => {
    const rig = await toonRig()
    await rig.ask('POST', '/v1/runs', { run_id: 'r', agent_id: 'a' })
    const events = [reasoning('x: "1"\n- y', { seq: 3 }), reasoning('z')]
    for (const gzip of [false, true]) {
      const body = gzip
        ? gzipSync(write(events.map((event, at) => ({ ...event, seq: 10 + at }))))
        : write(events)
      const headers = {
        'content-type': type,
        ...KEY(String(gzip)),
        ...(gzip && { 'content-encoding': 'gzip' }),
      }
      const sent = await rig.ask('POST', '/v1/runs/r/events', body, headers)
      expect(sent).toMatchObject({ status: 202, json: { accepted: 2 } })
    }
    const [batch] = rig.batches
    expect(batch && attribute(batch, 0, 'toon.payload')).toBe('{"thought":"x: \\"1\\"\\n- y"}')
    expect(batch && [0, 1].map((row) => attribute(batch, row, 'toon.seq'))).toEqual(['3', '4'])
  })

  it.each([
    ['POST', '/v1/nothing', reasoning('x'), {}, 404],
    ['GET', '/v1/events', undefined, {}, 405],
    ['POST', '/v1/runs/none/events', reasoning('x'), {}, 404],
    ['POST', '/v1/runs/%ff/events', reasoning('x'), {}, 400],
    ['POST', '/v1/runs/none/finish', undefined, {}, 404],
    ['POST', '/v1/runs/r/events', 'x', { 'content-type': 'text/csv' }, 415],
    ['POST', '/v1/runs/r/events', 'x', { 'content-encoding': 'br' }, 415],
    ['POST', '/v1/runs/r/events', '{"a": ', {}, 400],
    ['POST', '/v1/runs/r/events', Buffer.from([0x22, 0xff, 0x22]), {}, 400],
    ['POST', '/v1/runs/r/events', 'a[2]: 1', { 'content-type': 'text/toon' }, 400],
    ['POST', '/v1/runs/r/events', [], KEY('k'), 422],
    ['POST', '/v1/runs/r/events', [reasoning('x'), reasoning('y')], {}, 400],
    ['POST', '/v1/runs/r/events', reasoning('x'), KEY('k'.repeat(256)), 400],
    ['POST', '/v1/runs', {}, {}, 422],
    ['POST', '/v1/runs', { agent_id: 'a', metadata: { big: 'x'.repeat(70_000) } }, {}, 422],
    ['POST', '/v1/events', reasoning('x'), {}, 422],
    ['POST', '/v1/runs/r/events', reasoning('x', { meta: { run_id: 'other' } }), {}, 422],
    ['POST', '/v1/runs/r/finish', { status: 'done' }, {}, 422],
    ['POST', '/v1/runs/r/events', 'x'.repeat(11 * 1024 * 1024), {}, 413],
    [
      'POST',
      '/v1/runs/r/events',
      gzipSync('x'.repeat(11 * 1024 * 1024)),
      { 'content-encoding': 'gzip' },
      413,
    ],
    ['POST', '/v1/runs/r/events', Array.from({ length: 201 }, () => reasoning('x')), KEY('k'), 413],
    ['POST', '/v1/runs/r/events', reasoning('x'.repeat(600_000)), {}, 413],
  ])('%s %s is answered with a problem (%#)', async (method, path, body, headers, status) => {
    const rig = await toonRig()
    await rig.ask('POST', '/v1/runs', { run_id: 'r', agent_id: 'a' })
    const answer = await rig.ask(method, path, body, headers)
    expect(answer.status).toBe(status)
    expect(answer.headers.get('content-type')).toBe('application/problem+json')
    expect(answer.json).toMatchObject({
      status,
      type: expect.any(String),
      title: expect.any(String),
      detail: expect.any(String),
    })
    expect(rig.batches).toEqual([])
    expect(await rig.ask('GET', '/v1/runs/r')).toMatchObject({ json: { events: 0 } })
  })

  it('is counted by reason where it is refused without the pipeline, and not where that refuses it', async () => {
    const meter = createMeter()
    let isFull = false
    const consume = () => (isFull ? Promise.reject(retry('WAL_FULL', 'full')) : Promise.resolve(ACCEPTED))
    const rig = await toonRig({ meter, consume })
    await rig.ask('POST', '/v1/runs', { run_id: 'r', agent_id: 'a' })
    await rig.ask('POST', '/v1/runs/r/events', reasoning('x', { seq: 1 }))
    await rig.ask('POST', '/v1/runs/r/events', reasoning('y', { seq: 1 }))
    await rig.ask('POST', '/v1/runs/none/events', reasoning('x'))
    await rig.ask('POST', '/v1/runs/r/events', '{"a": ')
    await rig.ask('POST', '/v1/runs/r/events', 'x', { 'content-type': 'text/csv' })
    await rig.ask('POST', '/v1/runs/r/events', 'x', { 'content-encoding': 'br' })
    await rig.ask('POST', '/v1/runs/r/events', [], KEY('k'))
    await rig.ask('POST', '/v1/runs', {})
    isFull = true
    await rig.ask('POST', '/v1/runs/r/events', reasoning('z', { seq: 2 }))
    const page = parsePrometheus(await meter.render())
    const labels = 'receiver="toon",transport="http"'
    expect(Object.fromEntries([...page].filter(([key]) => /_requests/.test(key)))).toEqual({
      [`otelcol_receiver_requests{${labels},outcome="success"}`]: 1,
      [`otelcol_receiver_requests{${labels},outcome="refused"}`]: 1,
      [`weir_receiver_refused_requests{${labels},reason="conflict"}`]: 1,
      [`weir_receiver_refused_requests{${labels},reason="not_found"}`]: 1,
      [`weir_receiver_refused_requests{${labels},reason="malformed"}`]: 1,
      [`weir_receiver_refused_requests{${labels},reason="content_type"}`]: 1,
      [`weir_receiver_refused_requests{${labels},reason="encoding"}`]: 1,
      [`weir_receiver_refused_requests{${labels},reason="invalid"}`]: 2,
    })
  })

  it('takes all of a batch or nothing, and names index and field', async () => {
    const rig = await toonRig()
    await rig.ask('POST', '/v1/runs', { run_id: 'r', agent_id: 'a' })
    const bad = [
      reasoning('x'),
      reasoning('y', { actor: 'nobody' }),
      { ...reasoning('z'), payload: { steps: 1 } },
    ]
    const answer = await rig.ask('POST', '/v1/runs/r/events', bad, KEY('k'))
    expect(answer).toMatchObject({
      status: 422,
      json: {
        type: 'urn:weir:event-invalid',
        errors: [
          { index: 1, field: 'actor' },
          { index: 2, field: 'payload.steps' },
        ],
      },
    })
    expect(rig.batches).toEqual([])
  })

  it('refuses a whole batch that a processor rejects in part, and frees its numbers', async () => {
    let strict = true
    const rig = await toonRig({
      consume: async (batch) => {
        expect(batch.meta.whole).toBe(true)
        return { rejected: strict ? [{ rows: [1], reason: 'validators: pii' }] : [] }
      },
    })
    await rig.ask('POST', '/v1/runs', { run_id: 'r', agent_id: 'a' })
    const events = [reasoning('x', { seq: 1 }), reasoning('y', { seq: 2 })]
    const answer = await rig.ask('POST', '/v1/runs/r/events', events, KEY('k'))
    expect(answer).toMatchObject({
      status: 422,
      json: { errors: [{ index: 1, message: 'validators: pii' }] },
    })
    strict = false
    expect(await rig.ask('POST', '/v1/runs/r/events', events, KEY('other'))).toMatchObject({ status: 202 })
  })

  it('says when to come again, and the repeat gets the same numbers', async () => {
    let down = true
    const rig = await toonRig({
      consume: () =>
        down ? Promise.reject(retry('WAL_FULL', 'full', 3000)) : Promise.resolve({ rejected: [] }),
    })
    await rig.ask('POST', '/v1/runs', { run_id: 'r', agent_id: 'a' })
    const answer = await rig.ask('POST', '/v1/runs/r/events', reasoning('x'), KEY('k'))
    expect(answer).toMatchObject({ status: 429, json: { type: 'urn:weir:wal-full' } })
    expect(answer.headers.get('retry-after')).toBe('3')
    down = false
    expect(await rig.ask('POST', '/v1/runs/r/events', reasoning('y'), KEY('k2'))).toMatchObject({
      json: { first_seq: 2 },
    })
    expect(await rig.ask('POST', '/v1/runs/r/events', reasoning('x'), KEY('k'))).toMatchObject({
      json: { first_seq: 1 },
    })
  })

  it('checks seq that the sender gives: gaps and any order are fine, a second use is not', async () => {
    const rig = await toonRig()
    await rig.ask('POST', '/v1/runs', { run_id: 'r', agent_id: 'a' })
    const send = (seq: number, thought = 'x') =>
      rig.ask('POST', '/v1/runs/r/events', reasoning(thought, { seq }))
    expect(await send(10)).toMatchObject({ status: 202 })
    expect(await send(5)).toMatchObject({ status: 202 })
    expect(await send(5)).toMatchObject({ status: 202 })
    expect(rig.batches).toHaveLength(2)
    expect(await send(5, 'another')).toMatchObject({
      status: 409,
      json: { type: 'urn:weir:seq-conflict', errors: [{ index: 0, field: 'seq' }] },
    })
    expect(await rig.ask('POST', '/v1/runs/r/events', reasoning('auto'))).toMatchObject({
      json: { first_seq: 11 },
    })
  })

  it('is of the project that began it: who is scoped to another has no part in it', async () => {
    let project = 'checkout'
    const rig = await toonRig({
      admitted: {
        get project() {
          return project
        },
      },
    })
    await rig.ask('POST', '/v1/runs', { run_id: 'r', agent_id: 'a' })
    project = 'support'
    const none = { status: 404, json: { type: 'urn:weir:not-found' } }
    expect(await rig.ask('POST', '/v1/runs/r/events', reasoning('x'))).toMatchObject(none)
    expect(await rig.ask('GET', '/v1/runs/r')).toMatchObject(none)
    expect(await rig.ask('POST', '/v1/runs/r/finish', { status: 'completed' })).toMatchObject(none)
    expect(rig.batches).toEqual([])
    // A key of the whole tenant has.
    project = ''
    expect(await rig.ask('POST', '/v1/runs/r/events', reasoning('x'))).toMatchObject({ status: 202 })
    project = 'checkout'
    expect(await rig.ask('GET', '/v1/runs/r')).toMatchObject({ status: 200, json: { events: 1 } })
  })

  it('has the signature of each event checked over its canonical JSON', async () => {
    const seen: string[] = []
    const rig = await toonRig({
      admitted: {
        verifyEvent: async (canonical, signature) => {
          seen.push(Buffer.from(canonical).toString())
          if (signature !== 'good') throw reject('UNAUTHENTICATED', 'the signature does not match')
        },
      },
    })
    await rig.ask('POST', '/v1/runs', { run_id: 'r', agent_id: 'a' })
    const signed = (signature: string) => reasoning('x', { meta: { signature, run_id: 'r' } })
    expect(await rig.ask('POST', '/v1/runs/r/events', signed('good'))).toMatchObject({ status: 202 })
    expect(seen).toEqual([
      `{"actor":"agent","meta":{"run_id":"r"},"payload":{"thought":"x"},"t":"${T}","type":"reasoning"}`,
    ])
    expect(
      await rig.ask('POST', '/v1/runs/r/events', [signed('good'), signed('bad')], KEY('k')),
    ).toMatchObject({
      status: 401,
      json: { errors: [{ index: 1, field: 'meta.signature' }] },
    })
  })
})
