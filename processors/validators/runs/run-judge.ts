import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Batch } from '../../../pipeline/batch/batch.ts'
import { keyId } from '../../../pipeline/batch/keys.ts'
import { messageOf } from '../../../pipeline/fault.ts'
import type { FollowedBatch, FollowerTerm, LogWorker, StoredLog } from '../../../pipeline/follower.ts'
import { SLOT } from '../../../pipeline/genai/fields.ts'
import { operationOf } from '../../../pipeline/genai/kind.ts'
import { Scan } from '../../../pipeline/genai/scan.ts'
import type { Log } from '../../../pipeline/telemetry/log.ts'
import type { Meter } from '../../../pipeline/telemetry/meter.ts'
import type { Policies, Policy } from '../policies.ts'
import type { Run, RunEndStatus } from '../validator.ts'
import { MessageCache } from './message-cache.ts'
import { hex, onlyOf, readRun } from './read-run.ts'
import { RunTable, type TableTimes, type TracedRun } from './run-table.ts'
import { isVerdict, subjectOf, verdictBatch, verdictsOf, type RunFinding } from './verdicts.ts'
import { countVerdicts, RunWindows } from './run-windows.ts'

const RUN_STATUS = keyId('agent.run.status')
const MOST_SPANS = 10_000
/** Runs whose verdicts are under way to the log at a time. */
const AT_A_TIME = 64
const SAVE_MS = 2000
const BYTES_PER_SPAN = 200

export interface RunJudgeOptions {
  readonly policies: Policies
  /** Traces of which something came through one of these are judged, whole. */
  readonly receivers: readonly string[]
  readonly times: TableTimes
  readonly log: Log
  readonly meter: Meter
  readonly stored: StoredLog
  /** Of the batch phase. */
  readonly intervalMs: number
}

/**
 * Judges runs when they have ended, out of the log. All that it knows comes from the log: its cursor stays at the first
 * message of the oldest run that may still be judged, from where the next holder reads again; verdicts that are in the log
 * already are not written again.
 */
export class RunJudge implements LogWorker {
  readonly #options: RunJudgeOptions
  readonly #table: RunTable
  readonly #cache: MessageCache
  readonly #windows: RunWindows | undefined
  readonly #scan = new Scan()
  #term: FollowerTerm | undefined
  /** Until the log has been read up to here, verdicts may lie ahead. */
  #head = 0
  #savedAt = 0

  constructor(options: RunJudgeOptions) {
    this.#options = options
    this.#table = new RunTable(options.times)
    this.#cache = new MessageCache(options.stored)
    const isAcross = [...options.policies.each()].some(judgesAcross)
    this.#windows = isAcross ? new RunWindows(options) : undefined
  }

  async begin(term: FollowerTerm): Promise<void> {
    this.#term = term
    this.#table.clear()
    this.#cache.clear()
    this.#head = await this.#options.stored.head()
    await this.#windows?.begin(term)
  }

  async take(batches: readonly FollowedBatch[], to: number, walMs: number): Promise<void> {
    for (const { batch, seq, walMs: atMs } of batches) this.#note(batch, seq, atMs)
    await this.#settle(to, walMs)
  }

  async quiet(to: number, walMs: number): Promise<void> {
    await this.#settle(to, walMs)
  }

  #note(batch: Batch, seq: number, walMs: number): void {
    const { tenant } = batch.meta
    if (!judgesRuns(this.#options.policies.of(tenant))) return
    const verdict = isVerdict(batch.meta)
    const isOurs = this.#options.receivers.includes(receiverOf(batch.meta.source))
    let bytes = 0
    let last: Uint8Array | undefined
    let run: TracedRun | undefined
    for (let row = 0; row < batch.rows; row++) {
      if (!batch.isLive(row)) continue
      const trace = batch.traceId(row)
      // Without ids there is no telling what it belongs to.
      if (trace.length === 0) continue
      bytes += batch.spanSize(row) + BYTES_PER_SPAN
      if (verdict) {
        this.#table.sawVerdicts(tenant, hex(trace), seq)
        continue
      }
      if (run === undefined || last === undefined || Buffer.compare(last, trace) !== 0)
        run = this.#table.saw(tenant, hex(trace), seq, walMs)
      last = trace
      run.isOurs ||= isOurs
      this.#noteSpan(run, batch, row)
    }
    this.#cache.add(seq, batch, bytes)
  }

  #noteSpan(run: TracedRun, batch: Batch, row: number): void {
    run.spans++
    run.isRun ||= this.#isOfRun(batch, row)
    if (batch.parentSpanId(row).length > 0) return
    const stated = statedEnd(batch, row)
    const status = stated ?? (batch.statusCode(row) === 2 ? 'failed' : 'completed')
    this.#table.end(run, status, stated !== undefined)
  }

  /** What `factsOf` would say, without the rest of it: most spans are of a trace that is known for a run. */
  #isOfRun(batch: Batch, row: number): boolean {
    const scan = this.#scan
    return scan.read(batch, row) && (scan.has(SLOT.runId) || operationOf(scan) !== '')
  }

  /** Judges what is due, and moves the cursor to what is still needed. */
  async #settle(to: number, walMs: number): Promise<void> {
    if (to >= this.#head) {
      const due = [...new Set(this.#table.due(walMs))]
      for (let from = 0; from < due.length; from += AT_A_TIME) {
        const judging = due.slice(from, from + AT_A_TIME).map((run) => this.#judge(run, walMs))
        // What is thrown ends the term, and the next one must find none of them still under way.
        await Promise.allSettled(judging)
        await Promise.all(judging)
        await nextTurn()
      }
      this.#table.forget(walMs)
      await this.#windows?.judgeDue(walMs)
    }
    const position = this.#table.firstSeq ?? to + 1
    this.#cache.forget(position)
    const term = this.#term
    if (term === undefined || position <= term.record().position) return
    const now = performance.now()
    if (this.#table.size > 0 && now - this.#savedAt < SAVE_MS) return
    this.#savedAt = now
    await term.save({ position })
  }

  async #judge(traced: TracedRun, walMs: number): Promise<void> {
    const started = performance.now()
    const outcome = traced.isRun && traced.isOurs ? await this.#judgeRun(traced, walMs) : 'no_run'
    this.#table.judged(traced)
    if (outcome === 'no_run') return
    const { meter } = this.#options
    meter.counter('weir_validated_runs').add(1, { outcome })
    meter.histogram('weir_validation_seconds').observe((performance.now() - started) / 1000)
  }

  async #judgeRun(traced: TracedRun, walMs: number): Promise<string> {
    if (traced.spans > MOST_SPANS || traced.isTooLarge) return 'too_large'
    const signal = this.#term?.signal ?? AbortSignal.abort()
    const batches = await this.#cache.read(traced.seqs, (batch) => onlyOf(batch, traced.trace), signal)
    if (batches === undefined) return 'purged'
    const { run, verdicts } = readRun(traced, batches, walMs)
    const subject = subjectOf(run)
    const all = verdictsOf(subject, this.#find(run))
    const fresh = all.filter(({ id }) => !verdicts.has(id))
    if (fresh.length > 0) {
      await this.#options.stored.append(verdictBatch(fresh, walMs), signal)
      countVerdicts(this.#options.meter, fresh)
    }
    await this.#windows?.add(run, subject, traced.lastMs)
    return all.length === 0 ? 'clean' : 'violated'
  }

  #find(run: Run): RunFinding[] {
    const findings: RunFinding[] = []
    for (const { name, validator } of this.#options.policies.of(run.tenant).judges) {
      try {
        validator.judgeRun?.(run, (finding, span) => {
          findings.push({ judged: { ...finding, validator: name }, span })
        })
      } catch (error) {
        // One validator that fails must not keep the others, and all runs behind this one, from their verdicts.
        const fields = { validator: name, trace_id: run.traceId, error: messageOf(error) }
        this.#options.log.error(fields, 'A validator failed; the run is judged without it')
      }
    }
    return findings
  }
}

/** Of `<receiver id>/<transport>`. */
function receiverOf(source: string): string {
  const end = source.lastIndexOf('/')
  return end < 0 ? source : source.slice(0, end)
}

/** Whether a policy has something to do with runs. */
export function judgesRuns(policy: Policy): boolean {
  return judgesAcross(policy) || policy.judges.some(({ validator }) => validator.judgeRun !== undefined)
}

function judgesAcross({ judges }: Policy): boolean {
  return judges.some(({ validator }) => validator.judgeRuns !== undefined)
}

const ENDS: ReadonlySet<string> = new Set(['completed', 'failed', 'abandoned'])

/** How the run ended by the word of its sender, on its root span. */
function statedEnd(batch: Batch, row: number): RunEndStatus | undefined {
  const ref = batch.attr(row, RUN_STATUS)
  const stated = ref < 0 ? '' : batch.word(ref)
  return ENDS.has(stated) ? (stated as RunEndStatus) : undefined
}
