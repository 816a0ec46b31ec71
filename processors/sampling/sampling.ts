import { hash } from 'node:crypto'
import type { Batch } from '../../pipeline/batch/batch.ts'
import type { Processor } from '../../pipeline/component.ts'
import type { Context } from '../../pipeline/factory.ts'
import { reject } from '../../pipeline/fault.ts'
import { aheadOf, type LogWorker } from '../../pipeline/follower.ts'
import { factsOf } from '../../pipeline/genai/facts-of.ts'
import {
  otOf,
  probabilityOf,
  RANDOM_RANGE,
  thresholdOf,
  withThreshold,
} from '../../pipeline/sampling/trace-state.ts'
import type { Counter } from '../../pipeline/telemetry/meter.ts'
import { isTail, type SamplingConfig } from './config.ts'
import { BLOCK, type Decision } from './decision.ts'
import { decisionsIn } from './decision-table.ts'
import { DecisionView } from './decision-view.ts'
import { HeadSampler } from './head.ts'
import { ScoutMetrics } from './metrics.ts'
import { SEVERITIES } from './policy-config.ts'
import { Workshop, type Policy } from './policy.ts'
import { Scout } from './scout.ts'
import { isVerdict } from './signs.ts'
import { SUMMARY_BYTES } from './summary.ts'
import { ALWAYS, NEVER } from './verdict.ts'

/** Digits at which a weight gives back the threshold that it came from. */
const PRECISE = 10

/** Leaves out traces: a share of all by their ids (head), and by what they turned out to be (tail, behind the WAL). */
export class SamplingProcessor implements Processor {
  readonly ahead?: LogWorker
  readonly #head: HeadSampler | undefined
  readonly #view: DecisionView | undefined
  readonly #forgotten: Counter | undefined
  readonly #processor: string

  constructor(config: SamplingConfig, context: Context) {
    this.#processor = context.id
    this.#forgotten =
      context.counts === false ? undefined : context.meter.counter('weir_tail_sampling_forgotten_spans')
    const { sampling_percentage: percentage } = config
    this.#head = percentage === undefined ? undefined : new HeadSampler(percentage, config)
    if (!isTail(config)) return
    const { behind, id, state, log } = context
    if (behind === undefined) {
      throw reject(
        'CONFIG_INVALID',
        `${id}: policies and audit judge whole traces and need a WAL before them`,
      )
    }
    const remembered = Math.max(4, Math.floor(decisionsIn(config.decision_cache.max_bytes) / BLOCK))
    const cursor = `${behind.pipeline}/${aheadOf(id)}`
    this.#view = new DecisionView({ connector: behind.connector, cursor, state, log, remembered })
    this.ahead = scoutFor(config, context, behind.connector, remembered, this.#head)
  }

  async start(): Promise<void> {
    this.#view?.start()
  }

  async stop(): Promise<void> {
    await this.#view?.stop()
  }

  async process(batch: Batch): Promise<void> {
    this.#head?.sample(batch)
    if (this.#view === undefined || batch.live === 0) return
    const { tenant, wal } = batch.meta
    if (wal === undefined) throw reject('START_FAILED', 'sampling: the batch does not come from a WAL')
    const judged = await this.#view.at(wal.seq)
    let forgotten = 0
    for (let row = 0; row < batch.rows; row++) {
      if (!batch.isLive(row)) continue
      const decision = judged.of(tenant, batch.traceId(row))
      if (decision === undefined) forgotten++
      else if (decision.share !== 1 || decision.weight !== 1) apply(batch, row, decision)
    }
    if (forgotten > 0) this.#forgotten?.add(forgotten, { processor: this.#processor })
  }
}

function apply(batch: Batch, row: number, { weight, share, isConsistent }: Decision): void {
  if (share < 1 && !passes(batch.spanId(row), share)) {
    // What validators found is never left out, even where it came too late for its trace.
    if (!isVerdict(batch, row)) batch.drop(row, 'sampled')
    return
  }
  const state = batch.traceState(row)
  const before = otOf(state).threshold ?? 0
  if (!isConsistent) {
    factsOf(batch).sampleRate[row] = weight / probabilityOf(before)
    return
  }
  // The same randomness: who passes the higher threshold has passed the lower one.
  const after = Math.max(before, thresholdOf(1 / weight, PRECISE))
  if (after > before) batch.setTraceState(row, withThreshold(state, after))
  if (batch.facts !== undefined) batch.facts.sampleRate[row] = 1 / probabilityOf(after)
}

/** Whether a span is of the share that is kept of its trace. */
function passes(spanId: Uint8Array, share: number): boolean {
  if (share === 0) return false
  const random = hash('sha256', spanId, 'buffer').readUIntBE(0, 6) * 16
  return random >= (1 - share) * RANDOM_RANGE
}

function scoutFor(
  config: SamplingConfig,
  context: Context,
  connector: string,
  remembered: number,
  head: HeadSampler | undefined,
): Scout {
  const workshop = new Workshop(config.sampling_precision)
  const policies = [
    ...violationPolicy(config),
    ...(config.audit === undefined ? [] : workshop.audit(config.audit)),
    ...config.policies.map((policy) => workshop.policy(policy)),
  ]
  const byBytes = Math.max(1, Math.floor(config.max_bytes / SUMMARY_BYTES))
  return new Scout({
    connector,
    waitMs: config.decision_wait,
    runWaitMs: config.run_wait,
    verdictWaitMs: config.verdict_wait,
    maxTraces: config.num_traces === 0 ? byBytes : Math.min(byBytes, config.num_traces),
    thin: config.audit === undefined ? 0 : config.audit.success_percentage / 100,
    remembered,
    head,
    policies,
    workshop,
    metrics: new ScoutMetrics(context.meter, context.id, policies),
  })
}

function violationPolicy({ keep_violations: least }: SamplingConfig): Policy[] {
  if (least === 'NONE') return []
  const index = SEVERITIES.indexOf(least)
  const judge: Policy['judge'] = ({ severity }) => (severity >= index ? ALWAYS : NEVER)
  return [{ name: 'keep_violations', drops: false, wins: true, judge }]
}
