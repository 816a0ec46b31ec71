import { describe, expect, it, test } from 'vitest'
import { tauRuns, type TauRun } from '../../../test/runs/tau-bench.ts'
import { canonical } from '../canonical.ts'
import type { Recorded, RunSteps, Step } from '../steps.ts'
import { diffRuns, isSame, type RunDiff } from './diff.ts'
import { BUILT_IN, Profile, profileConfig } from './profile.ts'

const profile = (config: object = {}): Profile => new Profile(profileConfig.parse(config))
const STRICT = profile()

const recorded = (value: unknown, redactionHash?: string): Recorded => ({
  value,
  ...(redactionHash !== undefined && { redactionHash }),
})

const step = (kind: Step['kind'], name: string, rest: Partial<Step> = {}): Step => ({
  kind,
  name,
  operation: '',
  spanId: name,
  status: 'ok',
  startNs: '0',
  durationMs: 1,
  tokensIn: 0,
  tokensOut: 0,
  costUsd: '0',
  costStatus: 'none',
  ...rest,
})
const tool = (name: string, args: unknown, result: unknown = 'r'): Step =>
  step('tool', name, { input: recorded(args), output: recorded(result) })
const llm = (said: unknown): Step => step('llm', 'gpt-4o', { operation: 'chat', output: recorded(said) })

const run = (steps: readonly Step[], rest: Partial<RunSteps> = {}): RunSteps => ({
  tenant: 'acme',
  project: '',
  runId: 'r',
  traceId: 't',
  agent: '',
  status: 'completed',
  settings: {},
  startedNs: '0',
  durationMs: 10,
  steps,
  output: undefined,
  tokensIn: 0,
  tokensOut: 0,
  costUsd: '0',
  unpriced: 0,
  truncated: false,
  ...rest,
})

/** `=` same, `~` another in its place, `<` and `>` alone. */
const shape = ({ rows }: RunDiff): string =>
  rows
    .map(
      (row) =>
        `${row.b === undefined ? '<' : row.a === undefined ? '>' : isSame(row) ? '=' : '~'}${row.name}`,
    )
    .join(' ')

describe('a diff', () => {
  it('pairs the same calls, then the nearest of the same tool, and leaves others alone', () => {
    const a = run([
      tool('user', { id: 1 }),
      tool('search', { from: 'A', to: 'B', day: 1 }),
      tool('book', { n: 1 }),
    ])
    const b = run([
      tool('user', { id: 1 }),
      tool('search', { from: 'X', to: 'Y', day: 9 }),
      tool('search', { from: 'A', to: 'B', day: 2 }),
      tool('cancel', {}),
    ])
    const diff = diffRuns(a, b, STRICT)
    expect(shape(diff)).toBe('=user >search ~search <book >cancel')
    expect(diff.actions).toEqual({ a: 3, b: 4, same: 1, partial: 1, score: 0.428571 })
    expect(diff.firstDifference).toBe(1)
    expect(diff.rows[2]).toMatchObject({
      input: 'changed',
      inputDifferences: [{ path: '$.day', a: '1', b: '2' }],
    })
  })

  it('aligns what models said between the tools', () => {
    const a = run([llm('x'), tool('t', 1), llm('y'), llm('z')])
    const b = run([tool('t', 1), llm('other'), llm('z')])
    expect(shape(diffRuns(a, b, STRICT))).toBe('<gpt-4o =t ~gpt-4o =gpt-4o')
  })

  it('tells results from actions', () => {
    const [a, b] = [run([tool('t', 1, { hits: 1 })]), run([tool('t', 1, { hits: 2 })])]
    const diff = diffRuns(a, b, STRICT)
    expect(diff.actions.score).toBe(1)
    expect(diff.rows[0]).toMatchObject({ input: 'same', output: 'changed' })
    expect(shape(diffRuns(a, b, profile({ results: false })))).toBe('=t')
  })

  it('ignores what the profile names, for all steps, for models, for one tool', () => {
    const a = run([tool('t', { id: 1, q: 'x' }), tool('u', { id: 1 }), llm({ id: 'a', text: 'x' })])
    const b = run([tool('t', { id: 2, q: 'x' }), tool('u', { id: 2 }), llm({ id: 'b', text: 'x' })])
    expect(shape(diffRuns(a, b, STRICT))).toBe('~t ~u ~gpt-4o')
    expect(shape(diffRuns(a, b, profile({ ignore: ['$.id'] })))).toBe('=t =u =gpt-4o')
    expect(shape(diffRuns(a, b, profile({ tools: { t: { ignore: ['$..id'] } } })))).toBe('=t ~u ~gpt-4o')
    expect(shape(diffRuns(a, b, profile({ llm: { ignore: ['$.id'] } })))).toBe('~t ~u =gpt-4o')
    expect(shape(diffRuns(a, b, profile({ kinds: ['llm'] })))).toBe('~gpt-4o')
    expect(shape(diffRuns(a, b, new Profile(BUILT_IN['default']!)))).toBe('~t ~u =gpt-4o')
  })

  it('reports outcome and spread apart', () => {
    const a = run([], { output: { from: 'output', value: { n: 1 } }, costUsd: '0.3', durationMs: 100 })
    const b = run([], { output: { from: 'output', value: { n: 1 } }, costUsd: '0.1', durationMs: 100 })
    expect(diffRuns(a, b, STRICT).outcome).toEqual({ agree: true, status: 'same', output: 'same' })
    expect(diffRuns(a, { ...b, status: 'failed' }, STRICT).outcome).toMatchObject({
      agree: false,
      status: 'changed',
    })
    expect(diffRuns(a, run([]), STRICT).outcome).toMatchObject({ agree: false, output: 'changed' })
    expect(diffRuns(a, b, STRICT).spread).toMatchObject({
      costUsd: { a: '0.3', b: '0.1', relative: 1 },
      durationMs: { relative: 0 },
      tokensIn: { relative: 0 },
    })
  })

  const masked = (hash: string | undefined): RunSteps =>
    run([step('tool', 't', { input: recorded({ to: '[REDACTED_EMAIL]', n: 1 }, hash) })])

  it.each([
    ['equal hashes: equal originals', masked('h1'), masked('h1'), 'same'],
    ['other hashes: others', masked('h1'), masked('h2'), 'redacted'],
    [
      'a hash of what was masked elsewhere in the span',
      run([step('tool', 't', { input: recorded({ n: 1 }, 'h1') })]),
      run([step('tool', 't', { input: recorded({ n: 1 }, 'h2') })]),
      'same',
    ],
    [
      'pseudonyms',
      run([tool('t', { to: '<EMAIL:0123456789abcdef>' })]),
      run([tool('t', { to: '<EMAIL:fedcba9876543210>' })]),
      'redacted',
    ],
    [
      'pseudonyms, and something else',
      run([tool('t', { n: 1, to: '<EMAIL:0123456789abcdef>' })]),
      run([tool('t', { n: 2, to: '<EMAIL:fedcba9876543210>' })]),
      'changed',
    ],
    ['hashes of two tenants', masked('h1'), { ...masked('h2'), tenant: 'other' }, 'same'],
  ])('of redacted values: %s', (_name, a, b, verdict) => {
    expect(diffRuns(a, b, STRICT).rows).toMatchObject([{ input: verdict }])
    expect(diffRuns(a, b, STRICT).actions.score).toBe(verdict === 'same' ? 1 : 0.5)
  })
})

/** The same with the runs in each other's place. */
function mirrored(diff: RunDiff): unknown {
  const swap = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(swap)
    if (typeof value !== 'object' || value === null) return value
    const { a, b, ...rest } = value as Record<string, unknown>
    const parts = Object.entries(rest).map(([key, item]) => [key, swap(item)] as const)
    return {
      ...Object.fromEntries(parts),
      ...(b !== undefined && { a: swap(b) }),
      ...(a !== undefined && { b: swap(a) }),
    }
  }
  return swap(diff)
}

/** Pairs of what is on both sides: where one run's steps stand alone between two pairs, a's come first in either order. */
const paired = (rows: readonly { a?: unknown; b?: unknown }[]) =>
  rows.filter(({ a, b }) => a !== undefined && b !== undefined)

describe('tau-bench, all pairs of trials of one task', () => {
  const runs = tauRuns()
  const pairs = (all: readonly TauRun[]): readonly (readonly [RunSteps, RunSteps])[] =>
    all.flatMap((a, i) =>
      all.slice(i + 1).flatMap((b) => (a.task === b.task ? [[a.steps, b.steps] as const] : [])),
    )
  const rules = new Profile(BUILT_IN['default']!)

  test('deterministic, symmetric, and exact where an independent count is', (ctx) => {
    const all = pairs(runs ?? ctx.skip('the shared test data is not beside this checkout'))
    expect(all).toHaveLength(150)
    const calls = ({ steps }: RunSteps): string =>
      canonical(steps.filter(({ kind }) => kind === 'tool').map(({ name, input }) => [name, input?.value]))
    const scores: number[] = []
    for (const [a, b] of all) {
      const diff = diffRuns(a, b, rules)
      const back = diffRuns(b, a, rules)
      expect(canonical(diffRuns(a, b, rules))).toBe(canonical(diff))
      const swapped = mirrored(back) as RunDiff
      const comparable = (each: RunDiff): string =>
        canonical({ ...each, rows: paired(each.rows), firstDifference: 0 })
      expect(comparable(swapped)).toBe(comparable(diff))
      scores.push(diff.actions.score)
      expect(diff.actions.score === 1).toBe(calls(a) === calls(b))
      expect(diff.outcome.agree).toBe(a.status === b.status)
      expect(diff.rows.filter((row) => row.a !== undefined)).toHaveLength(a.steps.length)
      expect(diff.rows.filter((row) => row.b !== undefined)).toHaveLength(b.steps.length)
    }
    expect(scores.filter((score) => score === 1).length).toBe(9)
    expect(scores.reduce((sum, score) => sum + score, 0) / scores.length).toBeCloseTo(0.454, 3)
  })
})
