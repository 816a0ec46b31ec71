import { COSTS, TOKENS } from '../../pipeline/batch/facts.ts'
import type { Batch } from '../../pipeline/batch/batch.ts'
import type { FollowedBatch, FollowerTerm, LogWorker } from '../../pipeline/follower.ts'
import { factsOf } from '../../pipeline/genai/facts-of.ts'
import { otOf, probabilityOf, randomnessOf } from '../../pipeline/sampling/trace-state.ts'
import { DecisionLog, scoutData } from './decision-log.ts'
import { BLOCK, decisionOf } from './decision.ts'
import type { HeadSampler } from './head.ts'
import type { ScoutMetrics } from './metrics.ts'
import { judge, type Policy, type Workshop } from './policy.ts'
import { isRunEvent, runEnded, severityOf } from './signs.ts'
import { Agenda, Summary, SUMMARY_BYTES } from './summary.ts'
import { TraceKeys } from './trace-key.ts'

export interface ScoutOptions {
  readonly connector: string
  readonly waitMs: number
  readonly runWaitMs: number
  readonly verdictWaitMs: number
  readonly maxTraces: number
  /** Share of the spans that is kept of traces that are not. */
  readonly thin: number
  /** Blocks of decisions that cursors remember before their own. */
  readonly remembered: number
  /** What the cursors leave out before they ask. */
  readonly head: HeadSampler | undefined
  readonly policies: readonly Policy[]
  readonly workshop: Workshop
  readonly metrics: ScoutMetrics
}

/** Saved this often while messages come, or after as many decisions. */
const SAVE_MS = 200
const SAVE_DECISIONS = 4 * BLOCK
const TRIM_MS = 60_000

/**
 * Reads the WAL ahead of a pipeline's cursors and judges traces, by what their spans say up to a time after the first.
 * It keeps summaries only: after a crash they are made again from the log, which it re-reads from the first trace that
 * was not judged.
 */
export class Scout implements LogWorker {
  readonly #options: ScoutOptions
  #term: FollowerTerm | undefined
  #keys = new TraceKeys('')
  #log: DecisionLog | undefined
  /** In the order of their first spans. */
  #pending = new Map<string, Summary>()
  #agenda = new Agenda()
  #order = 0
  /** Largest time that the log has stamped, or has passed. */
  #clockMs = -Infinity
  #read = 0
  #savedMs = 0
  #trimmedMs = 0

  constructor(options: ScoutOptions) {
    this.#options = options
  }

  async begin(term: FollowerTerm): Promise<void> {
    const { connector, remembered, workshop } = this.#options
    const record = term.record()
    const data = scoutData(record)
    this.#term = term
    this.#keys = new TraceKeys(record.epoch)
    // Half of what the cursors remember: what is late here must be known there.
    this.#log = await DecisionLog.open(term, connector, Math.ceil(remembered / 2) * BLOCK)
    this.#pending = new Map()
    this.#agenda = new Agenda()
    this.#clockMs = data?.walMs ?? -Infinity
    this.#read = record.position - 1
    for (const [index, limiter] of workshop.limiters.entries()) limiter.reset(data?.limiters[index])
  }

  async take(batches: readonly FollowedBatch[], to: number, walMs: number): Promise<void> {
    for (const { batch, seq, walMs: atMs } of batches) {
      this.#passes(atMs)
      this.#options.head?.sample(batch)
      this.#observe(batch, seq)
      this.#makeRoom()
    }
    this.#read = to
    this.#passes(walMs)
    this.#publish()
    const due = performance.now() - this.#savedMs >= SAVE_MS
    if (due || this.#decisions.fresh >= SAVE_DECISIONS) await this.#save()
  }

  async quiet(to: number, walMs: number): Promise<void> {
    this.#read = to
    this.#passes(walMs)
    this.#publish()
    await this.#save()
  }

  #publish(): void {
    this.#options.metrics.publish(this.#pending.size, this.#pending.size * SUMMARY_BYTES)
  }

  get #decisions(): DecisionLog {
    if (this.#log === undefined) throw new Error('the scout was used before its term began')
    return this.#log
  }

  /** The log's clock goes on: what was due before is judged, in the order in which it was due. */
  #passes(walMs: number): void {
    this.#clockMs = Math.max(this.#clockMs, walMs)
    for (let next = this.#agenda.next(this.#clockMs); next; next = this.#agenda.next(this.#clockMs)) {
      const { summary, dueMs } = next
      if (summary.isJudged) continue
      const really = this.#dueMs(summary)
      if (really > dueMs) this.#agenda.add(summary, really)
      else this.#judge(summary, dueMs)
    }
  }

  #dueMs({ firstMs, isRun, endedMs }: Summary): number {
    const { waitMs, runWaitMs, verdictWaitMs } = this.#options
    if (!isRun || runWaitMs === 0) return firstMs + waitMs
    const latest = firstMs + runWaitMs
    return Math.max(firstMs + waitMs, endedMs < 0 ? latest : Math.min(latest, endedMs + verdictWaitMs))
  }

  #observe(batch: Batch, seq: number): void {
    const { workshop } = this.#options
    const facts = workshop.needsFacts ? factsOf(batch) : undefined
    const { tests } = workshop.tests
    for (let row = 0; row < batch.rows; row++) {
      if (!batch.isLive(row)) continue
      const summary = this.#summaryOf(batch, row, seq)
      if (summary === undefined) continue
      summary.spans++
      summary.bytes += batch.spanSize(row)
      const startMs = Number(batch.startNs(row)) / 1e6
      summary.startMs = Math.min(summary.startMs, startMs)
      summary.endMs = Math.max(summary.endMs, startMs + Number(batch.durationNs(row)) / 1e6)
      summary.severity = Math.max(summary.severity, severityOf(batch, row))
      for (let bit = 0; bit < tests.length; bit++) {
        const mask = 1 << bit
        if ((summary.bits & mask) === 0 && tests[bit]!(batch, row)) summary.bits |= mask
      }
      if (facts !== undefined) {
        summary.picoUsd += Number(facts.cost[row * COSTS.length] ?? 0n)
        for (let at = row * TOKENS.length; at < (row + 1) * TOKENS.length; at++) {
          summary.tokens += facts.tokens[at] ?? 0
        }
      }
      this.#followRun(summary, batch, row)
    }
  }

  /** Of a trace that is not judged yet; undefined for late spans, and for those of no trace. */
  #summaryOf(batch: Batch, row: number, seq: number): Summary | undefined {
    const id = batch.traceId(row)
    const key = this.#keys.of(batch.meta.tenant, id)
    if (key === undefined) return undefined
    const pending = this.#pending.get(key)
    if (pending !== undefined) return pending
    const { metrics, waitMs } = this.#options
    const decided = this.#decisions.table.newest(key)
    if (decided !== undefined) {
      metrics.late(decided.share === 1, severityOf(batch, row) >= 0)
      return undefined
    }
    const ot = otOf(batch.traceState(row))
    const randomness = ot.randomness ?? randomnessOf(id) ?? 0
    const before = probabilityOf(ot.threshold ?? 0)
    const summary = new Summary(key, seq, this.#clockMs, this.#order++, { randomness, before })
    this.#pending.set(key, summary)
    this.#agenda.add(summary, this.#clockMs + waitMs)
    metrics.began()
    return summary
  }

  #followRun(summary: Summary, batch: Batch, row: number): void {
    if (this.#options.runWaitMs === 0 || summary.endedMs >= 0) return
    if (runEnded(batch, row)) {
      summary.isRun = true
      summary.endedMs = this.#clockMs
      this.#agenda.add(summary, this.#dueMs(summary))
    } else summary.isRun ||= isRunEvent(batch, row)
  }

  #judge(summary: Summary, atMs: number): void {
    const { policies, thin, metrics } = this.#options
    const judgement = judge(policies, summary, atMs)
    summary.isJudged = true
    this.#pending.delete(summary.key)
    this.#decisions.add(summary.key, decisionOf(judgement, thin, summary.before))
    metrics.judged(judgement, summary.spans)
  }

  /** Over its bounds the oldest traces are judged by what was seen of them. */
  #makeRoom(): void {
    const { maxTraces, metrics } = this.#options
    while (this.#pending.size > maxTraces) {
      const [oldest] = this.#pending.values()
      if (oldest === undefined) return
      this.#judge(oldest, this.#clockMs)
      metrics.tooEarly()
    }
  }

  async #save(): Promise<void> {
    const term = this.#term!
    const [first] = this.#pending.values()
    const position = first?.firstSeq ?? this.#read + 1
    if (this.#decisions.fresh > 0 || position > term.record().position) {
      await this.#trim(term)
      const limiters = this.#options.workshop.limiters.map(({ state }) => state)
      await this.#decisions.save(position, { walMs: first?.firstMs ?? this.#clockMs, limiters })
    }
    this.#savedMs = performance.now()
  }

  async #trim(term: FollowerTerm): Promise<void> {
    if (performance.now() - this.#trimmedMs < TRIM_MS) return
    this.#trimmedMs = performance.now()
    await this.#decisions.trim(await term.passed(), this.#options.remembered)
  }
}
