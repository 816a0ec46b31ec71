import { scaled, USD_DIGITS, usdText } from '../genai/decimal.ts'
import { outputOf } from './content.ts'
import { otelStep } from './otel-steps.ts'
import { isToon, toonSteps } from './toon-steps.ts'
import type { RunOutput, RunSteps, Step } from './steps.ts'
import type { StoredSpan } from './stored-span.ts'
import { recorded } from './recorded.ts'

/** The spans of one run, in any order; undefined when there are none. */
export function runSteps(id: string, spans: readonly StoredSpan[], truncated: boolean): RunSteps | undefined {
  const [first] = spans
  if (first === undefined) return undefined
  const steps = ordered([
    ...toonSteps(spans),
    ...spans.filter((span) => !isToon(span)).flatMap((span) => otelStep(span) ?? []),
  ])
  const root = rootOf(spans)
  const [fromNs, toNs] = extent(spans)
  return {
    tenant: first.tenant,
    project: first.project,
    runId: spans.find(({ runId }) => runId !== '')?.runId ?? id,
    traceId: first.traceId,
    agent: spans.find(({ agent }) => agent !== '')?.agent ?? '',
    status: statusOf(spans, root),
    settings: settingsOf(root),
    startedNs: String(fromNs),
    durationMs: Number(toNs - fromNs) / 1e6,
    steps,
    output: cameTo(steps, root),
    tokensIn: sum(spans, ({ tokensIn }) => tokensIn),
    tokensOut: sum(spans, ({ tokensOut }) => tokensOut),
    costUsd: usdText(spans.reduce((total, { costUsd }) => total + (scaled(costUsd, USD_DIGITS) ?? 0n), 0n)),
    unpriced: spans.filter(({ costStatus }) => costStatus === 'unpriced').length,
    truncated,
  }
}

/** By number where every step has one: clocks of tools and agents differ. Else by start. */
function ordered(steps: readonly Step[]): readonly Step[] {
  const isNumbered = steps.every(({ seq }) => seq !== undefined)
  const byStart = (a: Step, b: Step): number => {
    const order = BigInt(a.startNs) - BigInt(b.startNs)
    if (order !== 0n) return order < 0n ? -1 : 1
    return (a.seq ?? 0) - (b.seq ?? 0) || (a.spanId < b.spanId ? -1 : a.spanId > b.spanId ? 1 : 0)
  }
  const bySeq = (a: Step, b: Step): number => (a.seq ?? 0) - (b.seq ?? 0) || byStart(a, b)
  return [...steps].sort(isNumbered ? bySeq : byStart)
}

/** The outermost span: without a parent, or with one that is another trace's; the earliest of them. */
function rootOf(spans: readonly StoredSpan[]): StoredSpan | undefined {
  const roots = spans.filter(({ parentId }) => parentId === '')
  return roots.reduce<StoredSpan | undefined>(
    (best, span) => (best === undefined || span.startNs < best.startNs ? span : best),
    undefined,
  )
}

const SETTINGS = ['agent.run.', 'gen_ai.request.', 'gen_ai.provider.']

function settingsOf(root: StoredSpan | undefined): Readonly<Record<string, string>> {
  const all = [...(root?.attributes ?? [])]
  return Object.fromEntries(all.filter(([key]) => SETTINGS.some((prefix) => key.startsWith(prefix))))
}

/** As the view `agent_runs` has it. */
function statusOf(spans: readonly StoredSpan[], root: StoredSpan | undefined): string {
  for (const { attributes } of spans) {
    const stated = attributes.get('agent.run.status')
    if (stated !== undefined && stated !== '') return stated
  }
  if (root === undefined) return 'running'
  const hasFailed = spans.some(({ parentId, status }) => parentId === '' && status === 'error')
  return hasFailed ? 'failed' : 'completed'
}

function cameTo(steps: readonly Step[], root: StoredSpan | undefined): RunOutput | undefined {
  const last = (kind: 'output' | 'llm'): RunOutput | undefined => {
    const output = steps.findLast((step) => step.kind === kind && step.output !== undefined)?.output
    return output && { from: kind, ...output }
  }
  const returned = root === undefined || root.modelCall ? undefined : outputOf(root)
  const ofRoot =
    root && returned !== undefined
      ? { from: 'root' as const, ...recorded(root, returned, 'output') }
      : undefined
  return last('output') ?? ofRoot ?? last('llm')
}

function extent(spans: readonly StoredSpan[]): readonly [fromNs: bigint, toNs: bigint] {
  let from = spans[0]?.startNs ?? 0n
  let to = from
  for (const { startNs, durationNs } of spans) {
    if (startNs < from) from = startNs
    if (startNs + durationNs > to) to = startNs + durationNs
  }
  return [from, to]
}

function sum(spans: readonly StoredSpan[], of: (span: StoredSpan) => number): number {
  return spans.reduce((total, span) => total + of(span), 0)
}
