import { describe, expect, it } from 'vitest'
import { decodeJsonBatch } from '../../pipeline/batch/otlp-batch.ts'
import { config as frequencyConfig } from './event-frequency/config.ts'
import { eventFrequency } from './event-frequency/factory.ts'
import { config as missingConfig } from './missing-step/config.ts'
import { missingStep } from './missing-step/factory.ts'
import { config as sequenceConfig } from './sequence/config.ts'
import { sequence } from './sequence/factory.ts'
import { config as timelagConfig } from './timelag/config.ts'
import { timelag } from './timelag/factory.ts'
import type { Run, RunSpan, RunSummary, Validator } from './validator.ts'
import { testMeta } from '../../test/support/batch-meta.ts'

const eventFrequencyMaker = await eventFrequency.load()
const missingStepMaker = await missingStep.load()
const sequenceMaker = await sequence.load()
const timelagMaker = await timelag.load()

/** The validators that look at the steps of a run. */

type Given = Partial<RunSpan> & { readonly step: string; readonly args?: string }

/** Steps a second apart, each a second long, unless they say otherwise. */
function runOf(given: readonly Given[], more: Partial<Run> = {}): Run {
  const attributes = (args: string | undefined) =>
    args === undefined ? [] : [{ key: 'toon.payload', value: { stringValue: args } }]
  const document = {
    resourceSpans: [
      { scopeSpans: [{ spans: given.map(({ args }) => ({ name: 'n', attributes: attributes(args) })) }] },
    ],
  }
  const batch = decodeJsonBatch(Buffer.from(JSON.stringify(document)), testMeta({ tenant: 't' }))
  const spans = given.map((own, row): RunSpan => {
    const startMs = own.startMs ?? row * 2000
    const base = {
      spanId: `s${row}`,
      parentId: '',
      name: '',
      endMs: startMs + 1000,
      statusCode: 0,
      action: '',
    }
    return { ...base, batch, row, startMs, seq: row + 1, ...own }
  })
  const run = {
    tenant: 't',
    project: '',
    traceId: 'a',
    runId: 'r',
    agent: 'buyer',
    status: 'completed',
    atMs: 0,
  }
  return { ...run, spans, ...more } as Run
}

const events = (...steps: string[]): Given[] =>
  steps.map((text) => {
    const [step = '', action = ''] = text.split(':')
    return { step, action }
  })

function found(validator: Validator, run: Run): string[] {
  const rules: string[] = []
  validator.judgeRun?.(run, ({ rule }, span) =>
    rules.push(span === undefined ? rule : `${rule} ${span.spanId}`),
  )
  return rules
}

describe('timelag', () => {
  const judge = (settings: object, given: readonly Given[]) =>
    found(timelagMaker.create(timelagConfig.parse(settings)), runOf(given))

  it('finds gaps between what happened so far and the next step', () => {
    const steps = [
      { step: 'chat', seq: 0, startMs: 0, endMs: 60_000 },
      { step: 'chat', seq: 0, startMs: 1000, endMs: 2000 },
      { step: 'chat', seq: 0, startMs: 70_000, endMs: 71_000 },
    ]
    expect(judge({ max_gap: '9s' }, steps)).toEqual(['gap s2'])
    expect(judge({ max_gap: '10s' }, steps)).toEqual([])
  })

  it('looks at spans without children, since those above them last as long', () => {
    const steps = [
      { step: 'invoke_agent', startMs: 0, endMs: 100_000, seq: 0, spanId: 'root' },
      { step: 'chat', startMs: 0, endMs: 1000, seq: 0, parentId: 'root' },
      { step: 'chat', startMs: 90_000, endMs: 100_000, seq: 0, parentId: 'root' },
    ]
    expect(judge({ max_gap: '1m' }, steps)).toEqual(['gap s2'])
  })

  it('finds long runs, times between certain steps, and clocks that go back', () => {
    const steps = [
      { step: 'action_request', action: 'search', startMs: 0, endMs: 0 },
      { step: 'reasoning', startMs: 1000, endMs: 1000 },
      { step: 'final_output', startMs: 8000, endMs: 8000 },
    ]
    expect(judge({ max_run: '7s' }, steps)).toEqual(['long_run'])
    const gaps = [{ from: 'tool:sea*', to: 'final_output', max: '7s' }]
    expect(judge({ gaps }, steps)).toEqual(['step_gap_1 s2'])
    expect(judge({}, steps.with(1, { step: 'reasoning', startMs: 9000, endMs: 14_000 }))).toEqual([
      'clock_back s2',
    ])
  })
})

describe('missing_step', () => {
  const judge = (settings: object, run: Run) =>
    found(missingStepMaker.create(missingConfig.parse(settings)), run)
  const workflows = [
    { agent: 'buy*', steps: ['tool:check*', 'chat'] },
    { agent: 'other', steps: ['tool:pay'] },
  ]

  it('finds what runs of an agent must have', () => {
    expect(judge({ workflows, final_output: 'NONE' }, runOf(events('action_request:check_stock')))).toEqual([
      'chat',
    ])
    expect(judge({ workflows }, runOf(events('execute_tool:check', 'chat', 'final_output')))).toEqual([])
  })

  it('finds a completed run of events without a final output', () => {
    expect(judge({}, runOf(events('reasoning')))).toEqual(['final_output'])
    expect(judge({}, runOf(events('reasoning'), { status: 'failed' }))).toEqual([])
    expect(judge({}, runOf([{ step: 'chat', seq: 0 }]))).toEqual([])
  })
})

describe('sequence', () => {
  const judge = (settings: object, run: Run) =>
    found(sequenceMaker.create(sequenceConfig.parse(settings)), run)

  it('finds a step before what it must come after', () => {
    const order = [{ step: 'tool:refund', after: 'tool:verify' }]
    const calls = (...names: string[]) => runOf(events(...names.map((name) => `execute_tool:${name}`)))
    expect(judge({ order }, calls('search', 'refund', 'verify', 'refund'))).toEqual(['order_1 s1'])
    expect(judge({ order }, calls('verify', 'refund'))).toEqual([])
    expect(judge({ order: [{ ...order[0], agent: 'x' }] }, calls('refund'))).toEqual([])
  })

  it('finds requests and responses that have no other half', () => {
    const steps: Given[] = [
      { step: 'action_request', spanId: 'q1' },
      { step: 'action_response', parentId: 'q1' },
      { step: 'action_response', parentId: 'root' },
      { step: 'action_request', spanId: 'q2' },
    ]
    const both = ['response_without_request s2', 'unanswered_request q2']
    expect(judge({}, runOf(steps))).toEqual(both)
    expect(judge({}, runOf(steps, { status: 'idle' }))).toEqual(both.slice(0, 1))
  })

  it('finds events after the final output', () => {
    expect(judge({}, runOf(events('reasoning', 'final_output', 'final_output', 'reasoning')))).toEqual([
      'after_final_output s3',
    ])
  })

  it('finds spans whose parents never came, but not the one that a run hangs by', () => {
    const under = (parentId: string): Given => ({ step: 'chat', seq: 0, parentId })
    expect(judge({}, runOf([under(''), under('s0'), under('gone')]))).toEqual(['orphans'])
    expect(judge({}, runOf([under('caller'), under('s0')]))).toEqual([])
  })
})

describe('event_frequency', () => {
  const validator = (settings: object) => eventFrequencyMaker.create(frequencyConfig.parse(settings))
  const judge = (settings: object, run: Run) => found(validator(settings), run)

  it('finds steps that occur too often, in a run or in a time', () => {
    const steps = runOf(events('error', 'chat', 'error', 'error', 'chat', 'error'))
    expect(judge({ limits: [{ step: 'error', max: 3 }] }, steps)).toEqual(['limit_1 s5'])
    expect(judge({ limits: [{ step: 'error', max: 4 }] }, steps)).toEqual([])
    expect(judge({ limits: [{ step: '*', max: 2, per: '4s' }] }, steps)).toEqual(['limit_1 s2'])
    expect(judge({ limits: [{ step: '*', max: 2, per: '3s' }] }, steps)).toEqual([])
  })

  it('finds loops: the same call with the same parameters', () => {
    const call = (args: string): Given => ({ step: 'action_request', action: 'search', args })
    const same = Array.from({ length: 4 }, () => call('{"q":1}'))
    expect(judge({ max_repeats: 3 }, runOf(same))).toEqual(['loop s3'])
    expect(judge({ max_repeats: 3 }, runOf(same.with(1, call('{"q":2}'))))).toEqual([])
  })

  it('finds runs unlike the others of their agent', () => {
    const summary = (agent: string, spans: number, traceId: string): RunSummary => {
      const run = { tenant: 't', project: '', runId: '', status: 'completed', startMs: 0, endMs: 0 } as const
      return { ...run, agent, spans, traceId, errors: 0, steps: {} }
    }
    const runs = [
      ...Array.from({ length: 30 }, (_, at) => summary('a', 10 + (at % 3), `a${at}`)),
      summary('a', 40, 'odd'),
      ...Array.from({ length: 4 }, (_, at) => summary('b', 10 + at * 100, `b${at}`)),
    ]
    const odd: string[] = []
    validator({}).judgeRuns?.(runs, ({ traceId }, { rule }) => odd.push(`${rule} ${traceId}`))
    expect(odd).toEqual(['unusual_count odd'])
  })
})
