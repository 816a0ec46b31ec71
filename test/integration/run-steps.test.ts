import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { loadRun } from '../../pipeline/runs/load.ts'
import type { LlmRequest, RunSteps } from '../../pipeline/runs/steps.ts'
import { testBatch } from '../contract/exporter.ts'
import { runRig, Script, type RunRig } from '../support/run-rig.ts'

const NEVER = new AbortController().signal
let rig: RunRig

beforeAll(async () => {
  rig = await runRig()
})
afterAll(() => rig.close())

const load = (id: string, tenant?: string): Promise<RunSteps> => loadRun(rig.ask, { id, tenant }, NEVER)

const hexOf = (n: number) => n.toString(16).padStart(32, '0')
const attributes = (entries: Readonly<Record<string, string | number>>) =>
  Object.entries(entries).map(([key, value]) => ({
    key,
    value: typeof value === 'number' ? { intValue: value } : { stringValue: value },
  }))

async function spans(traceId: string, ...list: readonly Record<string, unknown>[]): Promise<RunSteps> {
  await rig.store(testBatch(list.map((span) => ({ traceId, ...span }))))
  return load(traceId)
}

describe('a toon run', () => {
  test('is its steps: requests and responses together, in order, with what was asked and answered', async () => {
    const script = new Script()
      .llm([{ role: 'user', content: 'hi' }], 'look it up')
      .add('agent', 'reasoning', { thought: 'no model here' })
      .tool('search', { b: 2, a: 1 }, { hits: 3 })
      .tool('fetch', null, null, { status: 'error', error: 'gone' })
      .add('agent', 'error', { error_type: 'too_slow', message: 'gave up' })
      .output({ answer: 42 })
    await rig.toon('toon-1', script.events)
    const run = await load('toon-1')
    expect(run).toMatchObject({
      runId: 'toon-1',
      status: 'completed',
      agent: 'planner',
      tokensIn: 100,
      tokensOut: 10,
    })
    expect(run.steps.map(({ kind, name, seq }) => [kind, name, seq])).toEqual([
      ['llm', 'gpt-4o', 1],
      ['reasoning', '', 2],
      ['tool', 'search', 3],
      ['tool', 'fetch', 5],
      ['error', 'too_slow', 7],
      ['output', '', 8],
    ])
    const [llm, , search, fetch, failed] = run.steps
    expect(llm?.input?.value).toEqual({
      provider: 'openai',
      model: 'gpt-4o',
      messages: [{ role: 'user', content: 'hi' }],
      params: {},
    } satisfies LlmRequest)
    expect(llm?.output?.value).toEqual({ thought: 'look it up' })
    expect(search).toMatchObject({
      input: { value: { a: 1, b: 2 } },
      output: { value: { hits: 3 } },
      status: 'ok',
      durationMs: 20,
    })
    expect(fetch).toMatchObject({
      input: { value: {} },
      output: { value: 'gone' },
      status: 'error',
      error: 'gone',
    })
    expect(failed?.output?.value).toEqual({ error_type: 'too_slow', message: 'gave up' })
    expect(run.output?.value).toEqual({ answer: 42 })
  })

  test('that goes on, and one that ended, keep the requests that nobody answered', async () => {
    const script = new Script().tool('a', {}, 1).add('agent', 'action_request', { action: 'b', params: [1] })
    await rig.toon('open', script.events, { status: undefined })
    await rig.toon('left', script.events, { status: 'failed' })
    for (const id of ['open', 'left']) {
      const run = await load(id)
      expect(run.status).toBe(id === 'open' ? 'running' : 'failed')
      expect(
        run.steps.map(({ name, seq, input, output }) => [name, seq, input?.value, output?.value]),
      ).toEqual([
        ['a', 1, {}, 1],
        ['b', 3, [1], undefined],
      ])
    }
  })

  test('of two tenants is asked for by tenant', async () => {
    const script = new Script().output('x')
    await rig.toon('shared', script.events, { tenant: 'acme' })
    await rig.toon('shared', script.events, { tenant: 'other' })
    await expect(load('shared')).rejects.toMatchObject({ code: 'REQUEST_INVALID' })
    expect((await load('shared', 'acme')).tenant).toBe('acme')
    await expect(load('shared', 'nobody')).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })

  test('over the limit says that it was cut', async () => {
    const script = new Script().tool('a', {}, 1).tool('b', {}, 2).tool('c', {}, 3)
    await rig.toon('long', script.events)
    const limits = { maxRows: 3, maxBytes: 1 << 20, timeoutMs: 10_000 }
    expect(await loadRun(rig.ask, { id: 'long' }, NEVER, limits)).toMatchObject({ truncated: true })
    expect((await load('long')).truncated).toBe(false)
  })
})

let traces = 1000

describe('model calls of instrumentations', () => {
  const call = {
    'gen_ai.operation.name': 'chat',
    'gen_ai.request.model': 'gpt-4o',
    'gen_ai.system': 'openai',
  }
  const asked = [{ role: 'user', content: 'hi' }]
  const said = [{ role: 'assistant', content: 'ho' }]
  const json = (value: unknown): string => JSON.stringify(value)
  const event = (name: string, entries: Record<string, string>) => ({ name, attributes: attributes(entries) })

  test.each([
    [
      'attributes of OTel GenAI since 1.37',
      {
        'gen_ai.input.messages': json(asked),
        'gen_ai.output.messages': json(said),
        'gen_ai.request.temperature': '0.5',
      },
      [],
      said,
    ],
    [
      'the event that holds them',
      {},
      [
        event('gen_ai.client.inference.operation.details', {
          'gen_ai.input.messages': json(asked),
          'gen_ai.output.messages': json(said),
        }),
      ],
      said,
    ],
    [
      'an event per message, before 1.37',
      {},
      [
        event('gen_ai.user.message', { content: 'hi' }),
        event('gen_ai.choice', { 'gen_ai.event.content': json({ index: 0, message: said[0] }) }),
      ],
      [{ index: 0, message: said[0] }],
    ],
    [
      'two events with all of it',
      {},
      [
        event('gen_ai.content.prompt', { 'gen_ai.prompt': json(asked) }),
        event('gen_ai.content.completion', { 'gen_ai.completion': json(said) }),
      ],
      said,
    ],
    [
      'the numbered keys of OpenLLMetry',
      {
        'gen_ai.prompt.0.role': 'user',
        'gen_ai.prompt.0.content': 'hi',
        'gen_ai.completion.0.role': 'assistant',
        'gen_ai.completion.0.content': 'ho',
      },
      [],
      said,
    ],
    [
      'the numbered keys of OpenInference',
      {
        'llm.input_messages.0.message.role': 'user',
        'llm.input_messages.0.message.content': 'hi',
        'llm.output_messages.0.message.role': 'assistant',
        'llm.output_messages.0.message.content': 'ho',
      },
      [],
      said,
    ],
    ['the AI SDK', { 'ai.prompt.messages': json(asked), 'ai.response.text': 'ho' }, [], { text: 'ho' }],
    [
      'Langfuse',
      { 'langfuse.observation.input': json(asked), 'langfuse.observation.output': json(said) },
      [],
      said,
    ],
  ])('%s', async (_name, content, events, output) => {
    const run = await spans(hexOf(++traces), { attributes: attributes({ ...call, ...content }), events })
    expect(run.steps).toHaveLength(1)
    expect(run.steps[0]?.input?.value).toMatchObject({ provider: 'openai', model: 'gpt-4o', messages: asked })
    expect(run.steps[0]?.output?.value).toEqual(output)
    expect(run.output?.value).toEqual(output)
  })

  test('parameters are those of the request, whatever they are called', async () => {
    const otel = await spans(hexOf(1), {
      attributes: attributes({
        ...call,
        'gen_ai.prompt': 'x',
        'gen_ai.request.top_p': '0.9',
        'gen_ai.request.seed': 7,
      }),
    })
    const ai = await spans(hexOf(2), {
      attributes: attributes({ ...call, 'ai.prompt': 'x', 'ai.settings.topP': '0.9', 'ai.settings.seed': 7 }),
    })
    const inference = await spans(hexOf(3), {
      attributes: attributes({
        ...call,
        'llm.invocation_parameters': json({ top_p: 0.9, seed: 7, model: 'm' }),
      }),
    })
    const params = ({ steps }: RunSteps) => (steps[0]?.input?.value as LlmRequest | undefined)?.params
    expect(params(otel)).toEqual({ top_p: 0.9, seed: 7 })
    expect(params(ai)).toEqual(params(otel))
    expect(inference.steps[0]?.input).toBeUndefined()
  })

  test('tools, and the root that hands over the answer', async () => {
    const root = {
      spanId: 'aaaaaaaaaaaaaaaa',
      attributes: attributes({ 'gen_ai.operation.name': 'invoke_agent', 'output.value': 'done' }),
    }
    const tool = (args: Record<string, string>) => ({
      parentSpanId: 'aaaaaaaaaaaaaaaa',
      attributes: attributes({
        'gen_ai.operation.name': 'execute_tool',
        'gen_ai.tool.name': 'grep',
        ...args,
      }),
    })
    const run = await spans(
      hexOf(4),
      root,
      tool({ 'gen_ai.tool.call.arguments': '{"q":"x"}', 'gen_ai.tool.call.result': '[1]' }),
      tool({ 'input.value': '{"q":"y"}', 'output.value': 'plain' }),
      { parentSpanId: 'aaaaaaaaaaaaaaaa', attributes: [] },
    )
    expect(
      run.steps.map(({ kind, name, input, output }) => [kind, name, input?.value, output?.value]),
    ).toEqual([
      ['tool', 'grep', { q: 'x' }, [1]],
      ['tool', 'grep', { q: 'y' }, 'plain'],
    ])
    expect(run).toMatchObject({ output: { value: 'done' }, status: 'completed' })
  })

  test('hostile content is text', async () => {
    const deep = `${'['.repeat(5000)}${']'.repeat(5000)}`
    const run = await spans(hexOf(5), {
      attributes: attributes({
        ...call,
        'gen_ai.input.messages': deep,
        'gen_ai.output.messages': '{"__proto__": {"polluted": 1e999}, "broken": "\\ud800"}',
        'gen_ai.prompt.0.__proto__': 'x',
      }),
    })
    expect(run.steps[0]?.input?.value).toMatchObject({ messages: deep })
    expect(Object.keys(run.steps[0]?.output?.value as object)).toEqual(['__proto__', 'broken'])
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined()
  })
})
