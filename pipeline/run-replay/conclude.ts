import { scaled, USD_DIGITS, usdText } from '../genai/decimal.ts'
import type { ReplayPlan } from './plan.ts'
import type { Counts, Divergence, ReplayedStep, ReplayReport } from './report.ts'
import type { Snapshot } from './snapshot.ts'

export interface Concluding {
  readonly plan: ReplayPlan
  readonly steps: readonly ReplayedStep[]
  readonly snapshot: Snapshot
  readonly unused: number
}

/** What the steps come to. */
export function conclude({ plan, steps, snapshot, unused }: Concluding): ReplayReport {
  const { run } = plan
  const counts = countsOf(plan, steps, unused)
  const first = firstOf(steps)
  const report = {
    v: 1 as const,
    run_id: run.runId,
    trace_id: run.traceId,
    tenant: run.tenant,
    agent: run.agent,
    mode: plan.mode,
    llm: plan.endpoint,
    score: scoreOf(counts),
    counts,
    first_divergence: first,
    cost: {
      recorded: usdSum(steps.map(({ cost_usd: cost }) => cost.recorded)),
      replayed: usdSum(steps.map(({ cost_usd: cost }) => cost.replayed)),
    },
    latency_ms: {
      recorded: rounded(sum(steps.map(({ latency_ms: ms }) => ms.recorded))),
      replayed: rounded(sum(steps.map(({ latency_ms: ms }) => ms.replayed))),
    },
    tokens: {
      recorded: sum(steps.map(({ tokens }) => tokens.recorded)),
      replayed: sum(steps.map(({ tokens }) => tokens.replayed)),
    },
    snapshot,
    restored: plan.restored,
    masked_requests: steps.filter(({ masked }) => masked).length,
    steps,
  }
  return { ...report, notes: notesOf(plan, report), recommendations: recommendations(plan, report) }
}

function countsOf(plan: ReplayPlan, steps: readonly ReplayedStep[], unused: number): Counts {
  const of = (rung: ReplayedStep['agreement']): number =>
    steps.filter(({ agreement }) => agreement === rung).length
  return {
    calls: steps.length,
    exact: of('exact'),
    minor: of('minor'),
    major: of('major'),
    missed: of('missed'),
    unrecorded: of(null),
    moved: steps.filter(
      ({ agreement, step }) => agreement === null && plan.run.steps[step - 1]?.output?.moved === true,
    ).length,
    unused,
  }
}

/** A run without calls whose answers are recorded has nothing that was reproduced. */
function scoreOf({ calls, exact, minor, unrecorded }: Counts): number {
  const judged = calls - unrecorded
  return judged === 0 ? 0 : Math.floor(((exact + minor / 2) / judged) * 10_000) / 10_000
}

function firstOf(steps: readonly ReplayedStep[]): Divergence | null {
  const first = steps.find(({ agreement }) => agreement !== null && agreement !== 'exact')
  if (first === undefined || first.agreement === null) return null
  const { step, seq, kind, name, span_id, agreement, field, recorded, replayed, cause } = first
  return { step, seq, kind, name, span_id, agreement, field, recorded, replayed, cause: cause ?? '' }
}

type Facts = Omit<ReplayReport, 'notes' | 'recommendations'>

function notesOf(plan: ReplayPlan, report: Facts): readonly string[] {
  const { counts, masked_requests: masked, cost } = report
  return [
    ...plan.notes,
    ...(plan.run.truncated ? ['the run is larger than what is read of one: its later part is missing'] : []),
    ...(plan.run.status === 'running' ? ['the run has not ended: there may be more of it'] : []),
    ...(counts.calls === 0 ? ['the run has no calls of models or tools'] : []),
    ...(masked > 0
      ? [
          `${counted(masked, 'request holds', 'requests hold')} redacted values, and ${masked === 1 ? 'was' : 'were'} sent so`,
        ]
      : []),
    ...(counts.unrecorded > counts.moved
      ? [
          `${counted(counts.unrecorded - counts.moved, 'call has', 'calls have')} no recorded answer to compare with`,
        ]
      : []),
    ...(counts.moved > 0
      ? [
          `${counted(counts.moved, 'answer was', 'answers were')} moved out of the stored spans as artifacts, and not compared; weir trace ${report.trace_id} names them`,
        ]
      : []),
    ...(counts.unused > 0
      ? [
          `${counted(counts.unused, 'kept answer belongs', 'kept answers belong')} to calls that are not stored`,
        ]
      : []),
    ...(cost.replayed === null
      ? ['what the models asked cost now is not known: they have no price here']
      : []),
  ]
}

function recommendations(plan: ReplayPlan, { counts, steps, snapshot, restored }: Facts): readonly string[] {
  const models = steps.filter(({ kind }) => kind === 'llm')
  const hasDiverged = models.some(({ agreement }) => agreement === 'minor' || agreement === 'major')
  const isLive = plan.mode !== 'full'
  const fromCache = steps.filter(
    ({ agreement, kind }) => agreement === 'missed' && (kind === 'tool' || !isLive),
  )
  const lost = restored.filter(({ done }) => !done)
  const tools = new Set(
    steps.filter((step) => step.from === 'hook' && step.agreement === 'major').map(({ name }) => name),
  )
  const temperature = snapshot.sampling['temperature']
  return [
    ...(fromCache.length > 0 && plan.mode !== 'verification'
      ? [
          'keep answers: put replay_cache before sanitizer and grant llm_response_caching before the run; they are there for its expiry',
        ]
      : []),
    ...(isLive && hasDiverged && snapshot.seed === null
      ? ['start runs with a seed, where the provider takes one']
      : []),
    ...(isLive && hasDiverged && temperature !== '0'
      ? ['set temperature to 0 where answers must be repeatable']
      : []),
    ...(tools.size > 0
      ? [
          `tools that answered otherwise: ${[...tools].sort().join(', ')}; pin their data, or replay them from the cache (hybrid)`,
        ]
      : []),
    ...lost.map(
      ({ what }) => `configure replay.restore.${what}: the run names a snapshot that nobody restored`,
    ),
    ...(isLive && steps.some(({ masked }) => masked)
      ? [
          'redacted requests get other answers: judge these steps by their tools, or replay where the originals are',
        ]
      : []),
    ...(counts.calls > 0 && counts.exact === counts.calls ? ['none: every call agreed'] : []),
  ]
}

function counted(count: number, one: string, many: string): string {
  return `${count} ${count === 1 ? one : many}`
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}

function rounded(ms: number): number {
  return Math.round(ms * 1000) / 1000
}

/** Decimal texts, exactly; null where one of them is not known. */
function usdSum(amounts: readonly (string | null)[]): string | null {
  let sum = 0n
  for (const amount of amounts) {
    if (amount === null) return null
    sum += scaled(amount, USD_DIGITS) ?? 0n
  }
  return usdText(sum)
}
