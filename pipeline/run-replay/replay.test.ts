import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { otelStep } from '../runs/otel-steps.ts'
import type { LlmRequest, RunSteps, Step } from '../runs/steps.ts'
import type { StoredSpan } from '../runs/stored-span.ts'
import { CacheSource } from './cache-source.ts'
import type { KeptCall } from './cache.ts'
import { answerOf } from './call-of.ts'
import { modelAnswer } from './compare.ts'
import { replayPage } from './html.ts'
import { nearest } from './ladder.ts'
import type { Source } from './plan.ts'
import { replayRun } from './replay.ts'
import type { ReplayReport } from './report.ts'
import type { CallRequest } from './request.ts'

const BASE = {
  operation: 'chat',
  status: 'ok',
  startNs: '0',
  durationMs: 10,
  tokensIn: 5,
  tokensOut: 5,
  costUsd: '0.001',
  costStatus: 'computed',
} as const

const EMPTY_SPAN: StoredSpan = {
  tenant: 'acme',
  project: '',
  traceId: 'ab'.repeat(16),
  spanId: '01'.repeat(8),
  parentId: '',
  runId: 'r-1',
  name: 'chat',
  agent: '',
  tool: '',
  operation: 'chat',
  modelCall: true,
  provider: 'openai',
  model: 'gpt-4o',
  finishReason: '',
  tokensIn: 1,
  tokensOut: 1,
  costUsd: '0',
  costStatus: 'computed',
  startNs: 0n,
  durationNs: 1n,
  status: 'ok',
  statusMessage: '',
  attributes: new Map(),
  events: [],
}

interface Call {
  readonly ask: string
  readonly say: unknown
  readonly isTool: boolean
}

function stepOf({ ask, say, isTool }: Call, at: number): Step {
  const request: LlmRequest = {
    provider: 'openai',
    model: 'gpt-4o',
    messages: [{ role: 'user', content: ask }],
    params: { temperature: 0 },
  }
  return {
    ...BASE,
    kind: isTool ? 'tool' : 'llm',
    name: isTool ? 'search' : 'gpt-4o',
    spanId: String(at).padStart(16, '0'),
    seq: at,
    replayKey: `${isTool ? 't' : 'l'}${ask}`,
    input: { value: isTool ? { q: ask } : request },
    output: { value: say },
  }
}

function runOf(steps: readonly Step[], change: Partial<RunSteps> = {}): RunSteps {
  return {
    tenant: 'acme',
    project: '',
    runId: 'r-1',
    traceId: 'ab'.repeat(16),
    agent: 'finder',
    status: 'completed',
    settings: {},
    startedNs: '0',
    durationMs: 1,
    steps,
    output: undefined,
    tokensIn: 0,
    tokensOut: 0,
    costUsd: '0',
    unpriced: 0,
    truncated: false,
    ...change,
  }
}

function keptOf(steps: readonly Step[]): KeptCall[] {
  const seen = new Map<string, number>()
  return steps.map((step) => {
    const key = step.replayKey ?? ''
    const occurrence = seen.get(key) ?? 0
    seen.set(key, occurrence + 1)
    return {
      kind: step.kind === 'tool' ? 'tool' : 'llm',
      key,
      occurrence,
      span: step.spanId,
      answer: answerOf(step),
    }
  })
}

function full(run: RunSteps, kept: readonly KeptCall[]): Promise<ReplayReport> {
  const cache = new CacheSource(kept, 'it is over')
  const none = { endpoint: null, restored: [], notes: [] }
  const plan = { run, kept, mode: 'full', llm: cache, tool: cache, ...none } as const
  return replayRun(plan, new AbortController().signal)
}

const call = fc.record({
  // Few, so that the same is asked again.
  ask: fc.constantFrom('a', 'b', 'c'),
  say: fc.oneof(fc.string(), fc.dictionary(fc.string(), fc.jsonValue()), fc.array(fc.jsonValue())),
  isTool: fc.boolean(),
})

describe('a replay from the cache', () => {
  it('agrees whole with what was kept, and finds any one answer that differs, at its step', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(call, { minLength: 1, maxLength: 30 }), fc.nat(), async (calls, pick) => {
        const steps = calls.map(stepOf)
        const kept = keptOf(steps)
        const whole = await full(runOf(steps), kept)
        expect(whole).toMatchObject({
          score: 1,
          first_divergence: null,
          counts: { exact: steps.length, unused: 0 },
        })
        expect(JSON.stringify(await full(runOf(steps), kept))).toBe(JSON.stringify(whole))
        const at = pick % steps.length
        const changed = steps.map((step, index) => (index === at ? { ...step, output: other(step) } : step))
        const report = await full(runOf(changed), kept)
        expect(report.first_divergence).toMatchObject({ step: at + 1, seq: at })
        expect(report.counts.exact).toBe(steps.length - 1)
        expect(report.score).toBeLessThan(1)
      }),
      { numRuns: 60 },
    )
  })

  it('says what is missing and what is left over, and scores neither', async () => {
    const steps = ['a', 'b', 'a'].map((ask, at) => stepOf({ ask, say: `to ${ask} ${at}`, isTool: false }, at))
    const kept = keptOf(steps)
    const first = steps.slice(0, 2)
    const later = await full(runOf(first), kept)
    expect(later).toMatchObject({ score: 1, counts: { calls: 2, unused: 1 } })
    const less = await full(runOf(steps), kept.slice(0, 2))
    expect(less.counts).toMatchObject({ exact: 2, missed: 1 })
    expect(less.score).toBe(0.6666)
    expect(less.first_divergence).toMatchObject({ step: 3, cause: 'it is over' })
    expect(less.steps[2]?.nearest).toMatchObject({ agreement: 'exact', step: 1 })
    const { replayKey: _, ...unkeyed } = steps[0]!
    const without = await full(runOf([unkeyed]), kept)
    expect(without.first_divergence?.cause).toContain('no replay key')
    const { output: __, ...silent } = steps[0]!
    const nothing = await full(runOf([silent]), keptOf([silent]))
    expect(nothing).toMatchObject({ score: 0, counts: { calls: 1, unrecorded: 1 } })
    expect((await full(runOf([]), [])).notes.join()).toContain('no calls')
  })
})

function other(step: Step): Step['output'] & object {
  return { value: { changed: step.output?.value ?? null } }
}

describe('what was moved to an artifact', () => {
  const span = (attributes: Record<string, string>): StoredSpan => ({
    ...EMPTY_SPAN,
    attributes: new Map(Object.entries({ 'weir.replay.key': 'k', ...attributes })),
  })
  const whole = span({ 'gen_ai.input.messages': '["ask"]', 'gen_ai.output.messages': '["a long answer"]' })
  const ref = {
    'gen_ai.output.messages': '["a lo',
    'gen_ai.output.messages.artifact.ref': 'artifact://acme/0',
  }
  const moved = span({ 'gen_ai.input.messages': '["ask"]', ...ref })

  it('is not compared, and no divergence: the store holds its beginning only', async () => {
    const kept = keptOf([otelStep(whole)!])
    const steps = [otelStep(moved)!, { ...otelStep(whole)!, replayKey: 'other' }]
    const report = await full(runOf(steps.slice(0, 1)), kept)
    expect(report).toMatchObject({ first_divergence: null, counts: { calls: 1, unrecorded: 1, moved: 1 } })
    expect(report.steps[0]?.cause).toBe('its answer was moved to an artifact, and is not compared')
    expect(report.notes.join()).toContain('1 answer was moved out')
    const both = await full(runOf(steps), [...kept, ...keptOf(steps.slice(1))])
    expect(both).toMatchObject({ score: 1, counts: { exact: 1, moved: 1 } })
  })

  it('is no request that a model could be asked again', async () => {
    const asked = span({ 'gen_ai.prompt.0.content': 'the beg', 'gen_ai.prompt.0.content.artifact.ref': 'a' })
    const never: Source = { from: 'model', answer: () => expect.unreachable('asked') }
    const run = runOf([otelStep(asked)!])
    const plan = { run, kept: [], mode: 'hybrid', llm: never, tool: never } as const
    const given = { endpoint: { endpoint: 'e', model: null }, restored: [], notes: [] }
    const report = await replayRun({ ...plan, ...given }, new AbortController().signal)
    expect(report.first_divergence?.cause).toContain('moved to an artifact')
  })
})

describe('a replay with models', () => {
  it('judges by the calls of tools first, then by words', () => {
    const calls = [{ name: 'search', args: { q: 'x' } }]
    const openai = (name: string, args: string, content = '') => ({
      role: 'assistant',
      content,
      tool_calls: [{ id: 'c1', type: 'function', function: { name, arguments: args } }],
    })
    const anthropic = (name: string, input: object, text = 'I look') => [
      { type: 'thinking', thinking: 'secret' },
      { type: 'text', text },
      { type: 'tool_use', id: 'c2', name, input },
    ]
    const genai = [
      { role: 'assistant', parts: [{ type: 'tool_call', id: 'c3', name: 'search', arguments: { q: 'x' } }] },
    ]
    const flat = [
      {
        role: 'assistant',
        'tool_calls.0.function.name': 'search',
        'tool_calls.0.function.arguments': '{"q":"x"}',
      },
    ]
    for (const recorded of [genai, flat, openai('search', '{"q": "x"}')]) {
      expect(modelAnswer(recorded, openai('search', '{"q":"x"}'), [])).toEqual({ rung: 'exact' })
      expect(modelAnswer(recorded, { content: anthropic('search', { q: 'x' }) }, [])).toMatchObject({
        rung: 'minor',
        field: 'text',
      })
      expect(modelAnswer(recorded, openai('search', '{"q":"y"}'), [])).toMatchObject({
        rung: 'major',
        field: 'tool_calls[0].args.q',
      })
      expect(modelAnswer(recorded, openai('drop', '{"q":"x"}'), [])).toMatchObject({
        rung: 'major',
        field: 'tool_calls[0].name',
      })
      expect(modelAnswer(recorded, { content: 'no' }, [])).toMatchObject({
        rung: 'major',
        field: 'tool_calls[0]',
      })
    }
    expect(modelAnswer({ thought: 'I look' }, openai('search', '{"q":"x"}', ' I  look '), calls).rung).toBe(
      'exact',
    )
    expect(modelAnswer('the answer is forty two', { content: 'The answer is forty-two!' }, []).rung).toBe(
      'minor',
    )
    expect(modelAnswer('the answer is forty two', { content: 'I cannot help' }, []).rung).toBe('major')
  })

  it('tells why: another model, a request that was redacted, sampling that is not greedy', async () => {
    const step = stepOf({ ask: 'mail [REDACTED_EMAIL]', say: 'yes', isTool: false }, 0)
    const llm: Source = {
      from: 'model',
      answer: () => ({
        answer: { value: 'no never', status: 'ok', durationMs: 5, tokensIn: 1, tokensOut: 1 },
      }),
    }
    const tool = new CacheSource([], '')
    const endpoint = { endpoint: 'e', model: 'other' }
    const plan = {
      run: runOf([step]),
      kept: [],
      mode: 'hybrid',
      llm,
      tool,
      endpoint,
      restored: [],
      notes: [],
    } as const
    const report = await replayRun(plan, new AbortController().signal)
    expect(report.masked_requests).toBe(1)
    expect(report.first_divergence?.cause).toBe(
      'another model was asked: other instead of gpt-4o; the request was sent redacted, as it is stored',
    )
    expect(report.cost).toEqual({ recorded: '0.001', replayed: null })
    const gone = AbortSignal.abort(new Error('given up'))
    await expect(replayRun(plan, gone)).rejects.toThrow('given up')
  })
})

describe('the ladder', () => {
  const llm = (...messages: string[]): CallRequest => ({
    kind: 'llm',
    provider: 'openai',
    model: 'm',
    messages: messages.map((content, at) => ({ role: 'user', id: `x${at}`, content })),
    params: {},
  })
  const tool = (name: string, args: unknown): CallRequest => ({ kind: 'tool', tool: name, args })

  it('stands a request on its rung, with the nearest and the field that differs', () => {
    const long = 'please find the cheapest flight from Berlin to Lisbon on the third of August'
    const recorded = [llm('hello'), llm('hello', long), tool('search', { q: 'x', n: 1 }), tool('drop', {})]
    expect(nearest(llm('hello', long), recorded)).toEqual({ rung: 'exact', at: 1 })
    expect(nearest(llm('hello', long.replace('third', 'fourth')), recorded)).toMatchObject({
      rung: 'minor',
      at: 1,
      field: 'messages[1].content',
    })
    expect(nearest(llm('what', 'ever', long), recorded)).toMatchObject({ rung: 'major', at: 1 })
    expect(nearest(llm('nothing', 'of', 'this'), recorded).rung).toBe('missed')
    expect(nearest(tool('search', '{"n": 1, "q": "x"}'), recorded)).toEqual({ rung: 'exact', at: 2 })
    expect(nearest(tool('search', { q: 'x', n: 2 }), recorded)).toMatchObject({
      rung: 'minor',
      at: 2,
      field: 'args.n',
    })
    expect(nearest(tool('search', { id: 7 }), recorded)).toMatchObject({ rung: 'major', at: 2 })
    expect(nearest(tool('fly', {}), recorded)).toMatchObject({ rung: 'missed', field: 'tool' })
    expect(nearest(tool('fly', {}), [llm('a')])).toEqual({ rung: 'missed', at: -1 })
  })

  it('is exact for itself, whatever it holds, and never throws', () => {
    fc.assert(
      fc.property(fc.anything(), fc.anything(), (a, b) => {
        expect(nearest(tool('t', a), [tool('u', b), tool('t', a)])).toMatchObject({ rung: 'exact' })
        modelAnswer(a, b, [])
      }),
      { numRuns: 200 },
    )
  })
})

it('writes a page in which nothing that was recorded is markup', async () => {
  const evil = '</td><script>alert(1)</script>"\'&\u202e'
  const step = { ...stepOf({ ask: evil, say: evil, isTool: true }, 0), name: evil }
  const report = await full(runOf([step], { runId: evil, agent: evil }), [])
  const page = replayPage({ ...report, notes: [evil], recommendations: [evil] })
  expect(page).not.toMatch(/<script|\u202e/)
  expect(page).toContain('&lt;script&gt;')
  expect(page).toContain("default-src 'none'")
})
