import type { Step } from '../runs/steps.ts'
import type { Answer } from './cache-record.ts'
import { answerOf, isModelCall, requestOfStep } from './call-of.ts'
import { modelAnswer, sameAnswer, type Agreement } from './compare.ts'
import { conclude, type Concluding } from './conclude.ts'
import { nearest } from './ladder.ts'
import type { PlannedCall, ReplayPlan, Reply, Source } from './plan.ts'
import type { CallRequest } from './request.ts'
import type { Nearest, ReplayedStep, ReplayReport } from './report.ts'
import { shown } from './shown.ts'
import { saidOf } from './said.ts'
import { snapshotOf } from './snapshot.ts'

/** Looking for what is like a request reads all others: calls without an answer may be many. */
const MOST_NEAREST = 25

/**
 * Makes the calls of a recorded run again, in order. Every call is given the recorded request, so that each is judged by
 * itself: what one answers otherwise does not make all that follow differ.
 */
export async function replayRun(plan: ReplayPlan, signal: AbortSignal): Promise<ReplayReport> {
  const { run, kept } = plan
  const spans = new Set(kept.map(({ span }) => span))
  const snapshot = snapshotOf(run, (span) => spans.has(span))
  const seen = new Map<string, number>()
  const steps: ReplayedStep[] = []
  for (const [index, step] of run.steps.entries()) {
    if (step.kind !== 'tool' && !isModelCall(step)) continue
    signal.throwIfAborted()
    const { replayKey: key } = step
    const occurrence = key === undefined ? 0 : (seen.get(key) ?? 0)
    if (key !== undefined) seen.set(key, occurrence + 1)
    const call: PlannedCall = {
      run,
      step,
      at: index + 1,
      request: requestOfStep(step),
      occurrence,
      masked: isMasked(step),
      snapshot,
    }
    const misses = steps.filter(({ agreement }) => agreement === 'missed').length
    steps.push(await replayStep(plan, call, misses < MOST_NEAREST, signal))
  }
  const concluding: Concluding = { plan, steps, snapshot, unused: unusedOf(plan) }
  return conclude(concluding)
}

async function replayStep(
  plan: ReplayPlan,
  call: PlannedCall,
  looksForNearest: boolean,
  signal: AbortSignal,
): Promise<ReplayedStep> {
  const { step } = call
  const source = step.kind === 'tool' ? plan.tool : plan.llm
  const recorded = answerOf(step)
  const reply = await replyOf(call, source, signal)
  const answer = 'answer' in reply ? reply.answer : undefined
  const isRecorded = recorded.value !== undefined || recorded.status === 'error'
  const agreement = answer === undefined || !isRecorded ? undefined : compared(plan, call, source, answer)
  const isMissing = answer === undefined
  return {
    step: call.at,
    seq: step.seq ?? null,
    kind: step.kind === 'tool' ? 'tool' : 'llm',
    name: step.name,
    span_id: step.spanId,
    agreement: isMissing ? 'missed' : (agreement?.rung ?? null),
    from: isMissing ? null : source.from,
    field: agreement?.field ?? null,
    recorded: agreement?.rung === 'exact' ? null : shown(agreement?.recorded ?? recorded.value),
    replayed: agreement?.rung === 'exact' ? null : shown(agreement?.replayed ?? answer?.value),
    cause: causeOf(plan, call, reply, agreement),
    nearest: looksForNearest ? nearestOf(plan, call, answer, agreement) : null,
    masked: call.masked && source.from !== 'cache',
    latency_ms: { recorded: step.durationMs, replayed: spent(source, answer?.durationMs) },
    tokens: {
      recorded: step.tokensIn + step.tokensOut,
      replayed: spent(source, (answer?.tokensIn ?? 0) + (answer?.tokensOut ?? 0)),
    },
    cost_usd: { recorded: step.costUsd, replayed: costOf(source, reply) },
  }
}

/** The beginning of a request that was moved out of its span is another request. */
function replyOf(call: PlannedCall, source: Source, signal: AbortSignal): Promise<Reply> | Reply {
  if (source.from !== 'cache' && call.step.input?.moved === true) {
    return { missing: 'what was asked was moved to an artifact, and cannot be asked again' }
  }
  return source.answer(call, signal)
}

/** What comes from the cache costs nothing and takes no time. */
function spent(source: Source, amount = 0): number {
  return source.from === 'cache' ? 0 : amount
}

function costOf(source: Source, reply: Reply): string | null {
  if (source.from !== 'model') return '0'
  return 'answer' in reply ? (reply.costUsd ?? null) : '0'
}

function compared(plan: ReplayPlan, { step, at }: PlannedCall, source: Source, answer: Answer): Agreement {
  const recorded = answerOf(step)
  if (source.from !== 'model') return sameAnswer(recorded, answer)
  return modelAnswer(recorded.value, answer.value, callsAfter(plan.run.steps, at))
}

/** The calls of tools that follow step `at` (from 1), up to the next answer of a model. */
function callsAfter(steps: readonly Step[], at: number): { readonly name: string; readonly args: unknown }[] {
  const end = steps.findIndex((step, index) => index >= at && isModelCall(step))
  return steps
    .slice(at, end < 0 ? undefined : end)
    .filter(({ kind }) => kind === 'tool')
    .map(({ name, input }) => ({ name, args: input?.value ?? {} }))
}

function causeOf(
  plan: ReplayPlan,
  { step, request, masked }: PlannedCall,
  reply: Reply,
  agreement: Agreement | undefined,
): string | null {
  if ('missing' in reply) return reply.missing
  if (agreement === undefined) {
    return step.output?.moved === true
      ? 'its answer was moved to an artifact, and is not compared'
      : 'its answer is not recorded'
  }
  if (agreement.rung === 'exact') return null
  if (plan.mode === 'full' || (plan.mode === 'hybrid' && step.kind === 'tool')) {
    return 'what is stored differs from what was kept when it came: it was changed, or redacted, since'
  }
  if (step.kind === 'tool')
    return 'the tool answered otherwise: it depends on time, or on a state that was not restored'
  const { model } = plan.endpoint ?? {}
  const reasons = [
    ...(model !== undefined && model !== null && model !== step.name
      ? [`another model was asked: ${model} instead of ${step.name}`]
      : []),
    ...(masked ? ['the request was sent redacted, as it is stored'] : []),
    ...(isGreedy(request) ? [] : ['its sampling is not greedy: temperature is not 0']),
  ]
  return reasons.length > 0 ? reasons.join('; ') : 'the model answered the same request otherwise'
}

function isGreedy(request: CallRequest | undefined): boolean {
  return request?.kind === 'llm' && request.params['temperature'] === 0
}

/** Of a request that has no kept answer, and of a tool that a model asked for and the run did not. */
function nearestOf(
  plan: ReplayPlan,
  { step, request, at }: PlannedCall,
  answer: Answer | undefined,
  agreement: Agreement | undefined,
): Nearest | null {
  if (answer === undefined) {
    const kept = new Set(plan.kept.map(({ span }) => span))
    const isKept = (other: Step): boolean => other !== step && kept.has(other.requestSpanId ?? other.spanId)
    return request === undefined ? null : found(plan, request, isKept)
  }
  if (agreement?.field?.startsWith('tool_calls') !== true) return null
  const expected = callsAfter(plan.run.steps, at)
  const other = saidOf(answer.value).toolCalls.find(
    ({ name, args }) => !expected.some((each) => each.name === name && sameArgs(each.args, args)),
  )
  if (other === undefined) return null
  return found(plan, { kind: 'tool', tool: other.name, args: other.args }, () => true)
}

function sameArgs(a: unknown, b: unknown): boolean {
  const request = { kind: 'tool', tool: '' } as const
  return nearest({ ...request, args: a }, [{ ...request, args: b }]).rung === 'exact'
}

function found(plan: ReplayPlan, request: CallRequest, isWanted: (step: Step) => boolean): Nearest {
  const candidates = plan.run.steps.flatMap((step, index) => {
    const recorded = isWanted(step) ? requestOfStep(step) : undefined
    return recorded === undefined ? [] : [{ recorded, step, at: index + 1 }]
  })
  const match = nearest(
    request,
    candidates.map(({ recorded }) => recorded),
  )
  const near = candidates[match.at]
  return {
    agreement: match.rung,
    step: near?.at ?? null,
    span_id: near?.step.spanId ?? null,
    field: match.field ?? null,
    asked: shown(match.asked),
    recorded: shown(match.recorded),
  }
}

function unusedOf({ run, kept }: ReplayPlan): number {
  const asked = new Set(run.steps.map(({ spanId, requestSpanId = spanId }) => requestSpanId))
  return kept.filter(({ span }) => !asked.has(span)).length
}

const MASK = /\[REDACTED(?:_[A-Z0-9_]+)?\]|<[A-Z0-9_]+:[0-9a-f]{16}>/

function isMasked({ input }: Step): boolean {
  return input !== undefined && MASK.test(JSON.stringify(input.value) ?? '')
}
