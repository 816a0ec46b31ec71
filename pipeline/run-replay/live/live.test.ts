import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Secret } from '../../secret.ts'
import type { LlmRequest, Step } from '../../runs/steps.ts'
import type { PlannedCall } from '../plan.ts'
import { anthropic } from './anthropic.ts'
import { callHook } from './hooks.ts'
import { HookSource } from './hook-source.ts'
import { ModelSource } from './model-source.ts'
import { openai } from './openai.ts'

const signal = new AbortController().signal

/** One conversation, as four conventions record it: two calls of tools at once, one of which answers with JSON. */
const RECORDED: Readonly<Record<string, Pick<LlmRequest, 'messages' | 'system' | 'tools'>>> = {
  'OTel GenAI parts': {
    system: [{ type: 'text', content: 'Be brief.' }],
    messages: [
      { role: 'user', parts: [{ type: 'text', content: 'Paris and Rome?' }] },
      {
        role: 'assistant',
        parts: [
          { type: 'tool_call', id: 'a', name: 'weather', arguments: { city: 'Paris' } },
          { type: 'tool_call', id: 'b', name: 'weather', arguments: { city: 'Rome' } },
        ],
      },
      { role: 'tool', parts: [{ type: 'tool_call_response', id: 'b', response: 'sun' }] },
      { role: 'tool', parts: [{ type: 'tool_call_response', id: 'a', response: 'rain' }] },
    ],
    tools: [{ type: 'function', name: 'weather', description: 'W', parameters: { type: 'object' } }],
  },
  'OpenAI messages': {
    messages: [
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: [{ type: 'text', text: 'Paris and Rome?' }] },
      {
        role: 'assistant',
        content: null,
        tool_calls: [
          { id: 'a', type: 'function', function: { name: 'weather', arguments: '{"city":"Paris"}' } },
          { id: 'b', type: 'function', function: { name: 'weather', arguments: '{"city":"Rome"}' } },
        ],
      },
      { role: 'tool', tool_call_id: 'b', content: 'sun' },
      { role: 'tool', tool_call_id: 'a', content: 'rain' },
    ],
    tools: [
      { type: 'function', function: { name: 'weather', description: 'W', parameters: { type: 'object' } } },
    ],
  },
  'Anthropic blocks': {
    system: 'Be brief.',
    messages: [
      { role: 'user', content: 'Paris and Rome?' },
      {
        role: 'assistant',
        content: [
          { type: 'tool_use', id: 'a', name: 'weather', input: { city: 'Paris' } },
          { type: 'tool_use', id: 'b', name: 'weather', input: { city: 'Rome' } },
        ],
      },
      {
        role: 'user',
        content: [
          { type: 'tool_result', tool_use_id: 'b', content: 'sun' },
          { type: 'tool_result', tool_use_id: 'a', content: [{ type: 'text', text: 'rain' }] },
        ],
      },
    ],
    tools: [{ name: 'weather', description: 'W', input_schema: { type: 'object' } }],
  },
  'JSON text of messages': {
    messages: JSON.stringify([
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: 'Paris and Rome?' },
      {
        role: 'assistant',
        tool_calls: [
          { id: 'a', function: { name: 'weather', arguments: '{"city":"Paris"}' } },
          { id: 'b', function: { name: 'weather', arguments: '{"city":"Rome"}' } },
        ],
      },
      { role: 'tool', tool_call_id: 'b', content: 'sun' },
      { role: 'tool', tool_call_id: 'a', content: 'rain' },
    ]),
    tools: JSON.stringify([{ name: 'weather', description: 'W', input_schema: { type: 'object' } }]),
  },
}

const asked = (recorded: object) => ({
  request: { provider: 'x', model: 'm', params: {}, ...recorded } as LlmRequest,
  model: 'm',
  params: { temperature: 0, max_tokens: 9, seed: 3, stop_sequences: ['.'] },
})

describe.each(Object.entries(RECORDED))('%s', (_, recorded) => {
  it('become a request to OpenAI', () => {
    expect(openai.bodyOf(asked(recorded))).toEqual({
      model: 'm',
      temperature: 0,
      max_tokens: 9,
      seed: 3,
      stop: ['.'],
      messages: [
        { role: 'system', content: 'Be brief.' },
        { role: 'user', content: 'Paris and Rome?' },
        {
          role: 'assistant',
          content: null,
          tool_calls: [
            { id: 'a', type: 'function', function: { name: 'weather', arguments: '{"city":"Paris"}' } },
            { id: 'b', type: 'function', function: { name: 'weather', arguments: '{"city":"Rome"}' } },
          ],
        },
        { role: 'tool', tool_call_id: 'b', content: 'sun' },
        { role: 'tool', tool_call_id: 'a', content: 'rain' },
      ],
      tools: [
        { type: 'function', function: { name: 'weather', description: 'W', parameters: { type: 'object' } } },
      ],
    })
  })

  it('become a request to Anthropic, in which roles take turns', () => {
    expect(anthropic.bodyOf(asked(recorded))).toEqual({
      model: 'm',
      temperature: 0,
      max_tokens: 9,
      stop_sequences: ['.'],
      system: 'Be brief.',
      messages: [
        { role: 'user', content: [{ type: 'text', text: 'Paris and Rome?' }] },
        {
          role: 'assistant',
          content: [
            { type: 'tool_use', id: 'a', name: 'weather', input: { city: 'Paris' } },
            { type: 'tool_use', id: 'b', name: 'weather', input: { city: 'Rome' } },
          ],
        },
        {
          role: 'user',
          content: [
            { type: 'tool_result', tool_use_id: 'b', content: 'sun' },
            { type: 'tool_result', tool_use_id: 'a', content: 'rain' },
          ],
        },
      ],
      tools: [{ name: 'weather', description: 'W', input_schema: { type: 'object' } }],
    })
  })
})

it('gives calls ids where the record has none', () => {
  const messages = [
    { role: 'user', content: 'x' },
    { role: 'assistant', parts: [{ type: 'tool_call', name: 't', arguments: {} }] },
    { role: 'tool', content: 'y' },
  ]
  const { messages: made } = openai.bodyOf(asked({ messages })) as { messages: Record<string, unknown>[] }
  expect(made[1]).toMatchObject({ tool_calls: [{ id: 'call_1' }] })
  expect(made[2]).toEqual({ role: 'tool', tool_call_id: 'call_1', content: 'y' })
})

describe('asking outside', () => {
  let server: Server
  let url: string
  let answers: { status: number; body: string; headers?: Record<string, string> }[]
  let requests: { headers: IncomingMessage['headers']; url: string; body: string }[]

  beforeEach(async () => {
    answers = []
    requests = []
    server = createServer((request, response) => {
      let body = ''
      request.on('data', (chunk: Buffer) => (body += chunk.toString()))
      request.on('end', () => {
        requests.push({ headers: request.headers, url: request.url ?? '', body })
        const answer = answers.shift() ?? { status: 500, body: '' }
        response.writeHead(answer.status, answer.headers).end(answer.body)
      })
    })
    await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  })
  afterEach(() => {
    server.closeAllConnections()
    server.close()
  })

  const planned = (recorded: object, isTool = false): PlannedCall =>
    ({
      run: { runId: 'r', traceId: 't', tenant: 'acme' },
      step: { operation: isTool ? 'execute_tool' : 'chat', name: isTool ? 'search' : 'm', seq: 4 } as Step,
      at: 1,
      request: isTool
        ? { kind: 'tool', tool: 'search', args: recorded }
        : { kind: 'llm', ...asked(recorded).request },
      occurrence: 2,
      masked: false,
      snapshot: { seed: 5, sampling: { temperature: '0.5' } },
    }) as unknown as PlannedCall

  it('tries again what may pass, sends keys as headers only, follows no redirect and quotes no answer', async () => {
    const endpoint = {
      type: 'anthropic',
      endpoint: url,
      api_key: new Secret('sk-1'),
      headers: {},
      timeout: 5000,
    } as const
    const body = { content: [{ type: 'text', text: 'hi' }], usage: { input_tokens: 3, output_tokens: 2 } }
    answers = [
      { status: 529, body: 'busy' },
      { status: 200, body: JSON.stringify(body) },
    ]
    const source = new ModelSource(endpoint, undefined)
    const reply = await source.answer(planned({ messages: 'hello' }), signal)
    expect(reply).toMatchObject({ answer: { status: 'ok', tokensIn: 3, tokensOut: 2 } })
    expect(requests[0]?.headers['x-api-key']).toBe('sk-1')
    expect(requests[0]?.url).toBe('/v1/messages')
    expect(JSON.parse(requests[1]?.body ?? '')).toMatchObject({ temperature: 0.5, max_tokens: 4096 })
    answers = [{ status: 302, body: '', headers: { location: `${url}/other` } }]
    expect(await source.answer(planned({ messages: 'x' }), signal)).toEqual({
      missing: 'the endpoint refused it: HTTP 302',
    })
    answers = [{ status: 401, body: 'bad key sk-1' }]
    expect(await source.answer(planned({ messages: 'x' }), signal)).toEqual({
      missing: 'the endpoint refused it: HTTP 401',
    })
    answers = [{ status: 200, body: '{"content": 3}' }]
    expect(await source.answer(planned({ messages: 'x' }), signal)).toMatchObject({
      missing: expect.stringContaining('something else'),
    })
    expect(requests).toHaveLength(5)
    expect(await source.answer(planned({}), signal)).toMatchObject({
      missing: expect.stringContaining('not recorded'),
    })
    source.close()
  })

  it('calls tools by HTTP and by commands, within bounds', async () => {
    const node = (code: string, timeout = 60_000) => ({ command: [process.execPath, '-e', code], timeout })
    const echo =
      "let t='';process.stdin.on('data',(c)=>t+=c).on('end',()=>console.log(JSON.stringify({result:JSON.parse(t)})))"
    process.env['WEIR_TEST_SECRET'] = 'hidden'
    const source = new HookSource({ '*': node(echo) })
    expect(await source.answer(planned({ q: 1 }, true), signal)).toMatchObject({
      answer: {
        status: 'ok',
        value: { type: 'tool', tool: 'search', arguments: { q: 1 }, occurrence: 2, seq: 4, tenant: 'acme' },
      },
    })
    expect(await callHook(node('console.log(JSON.stringify(Object.keys(process.env)))'), {}, signal)).toEqual(
      {
        value: expect.not.arrayContaining(['WEIR_TEST_SECRET']),
      },
    )
    expect(await callHook(node('process.exit(3)'), {}, signal)).toEqual({
      failed: 'the hook ended with code 3',
    })
    expect(await callHook(node('setInterval(()=>0,1000)', 200), {}, signal)).toEqual({
      failed: 'the hook was ended: SIGKILL',
    })
    expect(await callHook({ command: ['yes', 'x'.repeat(4000)], timeout: 30_000 }, {}, signal)).toMatchObject(
      {
        failed: expect.stringContaining('bytes'),
      },
    )
    expect(await callHook({ command: ['/nowhere/at/all'], timeout: 1000 }, {}, signal)).toMatchObject({
      failed: expect.stringContaining('cannot run'),
    })
    const starts = `require('node:child_process').spawn(process.execPath, ['-e', 'setTimeout(()=>0, 15_000)'], { stdio: 'inherit' }).unref();console.log('{"a":1}')`
    const began = performance.now()
    expect(await callHook(node(starts), {}, signal)).toEqual({ value: { a: 1 } })
    expect(performance.now() - began).toBeLessThan(10_000)
    answers = [
      { status: 200, body: '{"status":"error","error":"no"}' },
      { status: 503, body: 'x' },
    ]
    const http = new HookSource({
      search: { endpoint: `${url}/h`, headers: { 'x-key': new Secret('k') }, timeout: 2000 },
    })
    expect(await http.answer(planned({}, true), signal)).toMatchObject({
      answer: { status: 'error', value: 'no' },
    })
    expect(requests[0]).toMatchObject({ url: '/h', headers: { 'x-key': 'k' } })
    expect(await http.answer(planned({}, true), signal)).toEqual({ missing: 'the hook answered HTTP 503' })
    expect(await new HookSource({}).answer(planned({}, true), signal)).toMatchObject({
      missing: expect.stringContaining('no hook'),
    })
    await expect(callHook(node(echo), {}, AbortSignal.abort(new Error('gone')))).rejects.toThrow('gone')
  })
})
