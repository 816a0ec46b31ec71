import { scaled, USD_DIGITS, usdText } from '../../genai/decimal.ts'
import type { Recorded, RunSteps, Step, StepKind } from '../steps.ts'
import { align, FULL, PARTIAL, type Pair } from './align.ts'
import { differences, type Difference } from './differences.ts'
import type { Profile } from './profile.ts'
import { sideOf, verdictOf, viewOf, type Side, type StepView, type Verdict } from './view.ts'

/** Two runs, step by step. Made of the runs and the profile alone: the same for the same, and mirrored when they change places. */
export interface RunDiff {
  readonly a: RunHead
  readonly b: RunHead
  /** What was done: the tools that were called, and with what. */
  readonly actions: Agreement
  /** What it came to. */
  readonly outcome: {
    readonly agree: boolean
    readonly status: Verdict
    /** Absent: neither run has an output. */
    readonly output?: Verdict
  }
  readonly spread: Readonly<
    Record<'costUsd' | 'durationMs' | 'tokensIn' | 'tokensOut' | 'llmCalls' | 'toolCalls', Spread>
  >
  readonly rows: readonly Row[]
  /** Index of the first row that is not the same; absent where all are. */
  readonly firstDifference?: number
}

export interface RunHead {
  readonly tenant: string
  readonly runId: string
  readonly traceId: string
  readonly agent: string
  readonly status: string
  readonly steps: number
  readonly truncated: boolean
}

export interface Agreement {
  /** Steps of each run. */
  readonly a: number
  readonly b: number
  readonly same: number
  /** The same tool with other arguments. */
  readonly partial: number
  /** 0 to 1: a counterpart counts 1, one with other arguments 0.5; over the mean length. 1 where nothing was called. */
  readonly score: number
}

/** One figure of both runs. */
export interface Spread {
  readonly a: string | number
  readonly b: string | number
  /** Their distance over their mean; 0 where both are 0. */
  readonly relative: number
}

export interface Row {
  readonly kind: StepKind
  readonly name: string
  readonly a?: RowStep
  readonly b?: RowStep
  /** Counterparts only: how they compare. `status` and `name` are there where they differ. */
  readonly input?: Verdict
  readonly output?: Verdict
  readonly status?: 'changed'
  readonly renamed?: 'changed'
  readonly inputDifferences?: readonly Difference[]
  readonly outputDifferences?: readonly Difference[]
}

export interface RowStep {
  readonly index: number
  readonly seq?: number
  readonly spanId: string
  readonly status: string
  readonly durationMs: number
  readonly costUsd: string
}

/** Rejects with REQUEST_INVALID what is too long to be aligned. */
export function diffRuns(a: RunSteps, b: RunSteps, profile: Profile): RunDiff {
  const left = viewsOf(a, b, profile)
  const right = viewsOf(b, a, profile)
  const pairs = aligned(left, right)
  const rows = rowsOf(left, right, pairs, profile)
  const first = rows.findIndex((row) => !isSame(row))
  return {
    a: headOf(a),
    b: headOf(b),
    actions: agreementOf(left, right, pairs),
    outcome: outcomeOf(a, b, profile),
    spread: spreadOf(a, b),
    rows,
    ...(first >= 0 && { firstDifference: first }),
  }
}

/** True for counterparts in which nothing differs that is compared. */
export function isSame({ a, b, input, output, status, renamed }: Row): boolean {
  if (a === undefined || b === undefined || status !== undefined || renamed !== undefined) return false
  return (input ?? 'same') === 'same' && (output ?? 'same') === 'same'
}

function viewsOf(run: RunSteps, other: RunSteps, profile: Profile): readonly StepView[] {
  return run.steps
    .filter((step) => profile.compares(step))
    .map((step) => viewOf(run.tenant === other.tenant ? step : withoutHashes(step), profile))
}

/** Hashes are keyed by tenant: those of two say nothing. */
function withoutHashes({ input, output, replayKey: _key, ...step }: Step): Step {
  return { ...step, ...(input && { input: plain(input) }), ...(output && { output: plain(output) }) }
}

function plain({ value }: Recorded): Recorded {
  return { value }
}

interface Listed {
  readonly index: number
  readonly view: StepView
}

/** Tools first: they are what was done. What was said and thought is aligned between them. */
function aligned(left: readonly StepView[], right: readonly StepView[]): readonly Pair[] {
  const isTool = ({ view }: Listed): boolean => view.step.kind === 'tool'
  const lists = [left, right].map((views) => views.map((view, index): Listed => ({ index, view })))
  const [allA = [], allB = []] = lists
  const tools = alignListed(allA.filter(isTool), allB.filter(isTool))
  const ends: Pair[] = [...tools, [left.length, right.length]]
  const pairs: Pair[] = []
  let [fromA, fromB] = [0, 0]
  for (const [toA, toB] of ends) {
    const rest = (listed: readonly Listed[], from: number, to: number): readonly Listed[] =>
      listed.slice(from, to).filter((each) => !isTool(each))
    pairs.push(...alignListed(rest(allA, fromA, toA), rest(allB, fromB, toB)))
    if (toA < left.length) pairs.push([toA, toB])
    fromA = toA + 1
    fromB = toB + 1
  }
  return pairs
}

function alignListed(a: readonly Listed[], b: readonly Listed[]): readonly Pair[] {
  const marks = (listed: readonly Listed[]) => listed.map(({ view }) => view.mark)
  return align(marks(a), marks(b)).map(([i, j]) => [a[i]?.index ?? 0, b[j]?.index ?? 0] as const)
}

function rowsOf(
  left: readonly StepView[],
  right: readonly StepView[],
  pairs: readonly Pair[],
  profile: Profile,
): readonly Row[] {
  const rows: Row[] = []
  let [atA, atB] = [0, 0]
  const alone = (toA: number, toB: number): void => {
    for (; atA < toA; atA++)
      rows.push(...left.slice(atA, atA + 1).map(({ step }) => ({ ...nameOf(step), a: rowStep(step, atA) })))
    for (; atB < toB; atB++)
      rows.push(...right.slice(atB, atB + 1).map(({ step }) => ({ ...nameOf(step), b: rowStep(step, atB) })))
  }
  for (const [i, j] of pairs) {
    alone(i, j)
    const [a, b] = [left[i], right[j]]
    if (a !== undefined && b !== undefined) rows.push(rowOf(a, b, i, j, profile))
    atA = i + 1
    atB = j + 1
  }
  alone(left.length, right.length)
  return rows
}

function rowOf(a: StepView, b: StepView, i: number, j: number, profile: Profile): Row {
  const input = verdictOf(a.input, b.input)
  const isLeftOut = a.step.kind === 'tool' && !profile.results
  const output = isLeftOut ? undefined : verdictOf(a.output, b.output)
  return {
    ...nameOf(a.step),
    a: rowStep(a.step, i),
    b: rowStep(b.step, j),
    ...(input !== undefined && { input }),
    ...(output !== undefined && { output }),
    ...(a.step.status !== b.step.status && !isLeftOut && { status: 'changed' as const }),
    ...(a.step.name !== b.step.name && { renamed: 'changed' as const }),
    ...(isTold(input) && { inputDifferences: differencesOf(a.input, b.input) }),
    ...(isTold(output) && { outputDifferences: differencesOf(a.output, b.output) }),
  }
}

function isTold(verdict: Verdict | undefined): boolean {
  return verdict === 'changed' || verdict === 'redacted'
}

function differencesOf(a: Side | undefined, b: Side | undefined): readonly Difference[] {
  return differences(a?.value, b?.value)
}

function nameOf({ kind, name }: Step): Pick<Row, 'kind' | 'name'> {
  return { kind, name }
}

function rowStep({ seq, spanId, status, durationMs, costUsd }: Step, index: number): RowStep {
  return { index, ...(seq !== undefined && { seq }), spanId, status, durationMs, costUsd }
}

function agreementOf(
  left: readonly StepView[],
  right: readonly StepView[],
  pairs: readonly Pair[],
): Agreement {
  const tools = (views: readonly StepView[]): number =>
    views.filter(({ step }) => step.kind === 'tool').length
  const [a, b] = [tools(left), tools(right)]
  let [same, partial] = [0, 0]
  for (const [i, j] of pairs) {
    if (left[i]?.step.kind !== 'tool') continue
    if (left[i].mark.key === right[j]?.mark.key) same++
    else partial++
  }
  const score = a + b === 0 ? 1 : rounded((same * FULL + partial * PARTIAL) / (a + b))
  return { a, b, same, partial, score }
}

function outcomeOf(a: RunSteps, b: RunSteps, profile: Profile): RunDiff['outcome'] {
  const status: Verdict = a.status === b.status ? 'same' : 'changed'
  const isOneTenant = a.tenant === b.tenant
  const side = ({ output }: RunSteps): Side | undefined => {
    const kind = output?.from === 'llm' ? 'llm' : 'output'
    return sideOf(isOneTenant || output === undefined ? output : plain(output), { kind, name: '' }, profile)
  }
  const output = verdictOf(side(a), side(b))
  const agree = status === 'same' && (output === undefined || output === 'same')
  return { agree, status, ...(output !== undefined && { output }) }
}

function spreadOf(a: RunSteps, b: RunSteps): RunDiff['spread'] {
  const count = ({ steps }: RunSteps, kind: StepKind): number =>
    steps.filter((step) => step.kind === kind).length
  const money = ({ costUsd }: RunSteps): bigint => scaled(costUsd, USD_DIGITS) ?? 0n
  const [costA, costB] = [money(a), money(b)]
  return {
    costUsd: { a: usdText(costA), b: usdText(costB), relative: relative(Number(costA), Number(costB)) },
    durationMs: spread(a.durationMs, b.durationMs),
    tokensIn: spread(a.tokensIn, b.tokensIn),
    tokensOut: spread(a.tokensOut, b.tokensOut),
    llmCalls: spread(count(a, 'llm'), count(b, 'llm')),
    toolCalls: spread(count(a, 'tool'), count(b, 'tool')),
  }
}

function spread(a: number, b: number): Spread {
  return { a, b, relative: relative(a, b) }
}

function relative(a: number, b: number): number {
  return a + b === 0 ? 0 : rounded((2 * Math.abs(a - b)) / (a + b))
}

function rounded(value: number): number {
  return Math.round(value * 1e6) / 1e6
}

function headOf(run: RunSteps): RunHead {
  const { tenant, runId, traceId, agent, status, steps, truncated } = run
  return { tenant, runId, traceId, agent, status, steps: steps.length, truncated }
}
