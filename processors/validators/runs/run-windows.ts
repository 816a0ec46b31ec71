import { messageOf } from '../../../pipeline/fault.ts'
import type { FollowerTerm } from '../../../pipeline/follower.ts'
import { stateKey, type StateKey } from '../../../pipeline/state/state.ts'
import type { Meter } from '../../../pipeline/telemetry/meter.ts'
import type { Run, RunSummary } from '../validator.ts'
import type { RunJudgeOptions } from './run-judge.ts'
import { verdictBatch, verdictsOf, type RunFinding, type Subject, type Verdict } from './verdicts.ts'

/** A run as it is kept until its window is judged: `run-window.<cursor>.<window>.<tenant>.<trace>`, JSON. */
interface Summary extends RunSummary {
  readonly subject: Subject
}

/** What the cursor's record keeps of windows. */
interface Progress {
  /** This window and all before are judged. */
  readonly judged: number
  /** The one under judgement, and where the log ended before its verdicts. */
  readonly pending?: { readonly window: number; readonly since: number }
}

/** Runs of one window beyond this are left out. */
const MOST_RUNS = 20_000
/** Kinds of steps of a run that are counted, and the length of their names. */
const MOST_STEPS = 64
const LONGEST_STEP = 64

/**
 * The batch phase: runs by the interval in which they ended (of the log's time), judged together when no more of them can
 * come. It has no clock and no lease of its own: `judgeDue` is what a scheduler of jobs would call.
 */
export class RunWindows {
  readonly #options: RunJudgeOptions
  /** Windows that have runs, with how many. */
  readonly #counts = new Map<number, number>()
  #term: FollowerTerm | undefined

  constructor(options: RunJudgeOptions) {
    this.#options = options
  }

  async begin(term: FollowerTerm): Promise<void> {
    this.#term = term
    this.#counts.clear()
    const prefix = this.#prefix()
    for (const { key } of await term.state.list(prefix)) {
      this.#count(Number(key.slice(prefix.length + 1).split('.', 1)[0]))
    }
  }

  /** Keeps what the batch phase needs of a run; a run that was judged before takes its old place. */
  async add(run: Run, subject: Subject, endedMs: number): Promise<void> {
    const window = Math.floor(endedMs / this.#options.intervalMs)
    const term = this.#term
    if (term === undefined || window <= this.#progress().judged) return
    if ((this.#counts.get(window) ?? 0) >= MOST_RUNS) return
    const summary: Summary = { ...summaryOf(run), subject }
    const key = stateKey('run-window', term.record().cursor, String(window), run.tenant, run.traceId)
    await term.state.put(key, Buffer.from(JSON.stringify(summary)))
    this.#count(window)
  }

  /** Judges the windows that are over when the log's time is `walMs`. */
  async judgeDue(walMs: number): Promise<void> {
    const { intervalMs, times } = this.#options
    // A run is judged, and comes here, an idle time after its last span at the latest.
    const over = walMs - times.idleMs - times.rootWaitMs
    const due = [...this.#counts.keys()].filter((window) => (window + 1) * intervalMs <= over)
    for (const window of due.toSorted((a, b) => a - b)) await this.#judge(window, walMs)
  }

  async #judge(window: number, walMs: number): Promise<void> {
    const term = this.#term
    if (term === undefined) return
    const { stored, meter } = this.#options
    const before = this.#progress()
    const isAgain = before.pending?.window === window
    const since = isAgain ? before.pending.since : await stored.head()
    if (!isAgain) await this.#save({ ...before, pending: { window, since } })
    for (const verdicts of await this.#verdicts(window)) {
      const batch = verdictBatch(verdicts, walMs)
      const { tenant, digest } = batch.meta
      if (isAgain && (await stored.has(tenant, digest, since, term.signal))) continue
      await stored.append(batch, term.signal)
      countVerdicts(meter, verdicts)
    }
    await this.#save({ judged: Math.max(window, before.judged) })
    await term.state.forget(`${this.#prefix()}.${window}` as StateKey)
    this.#counts.delete(window)
  }

  /** By tenant and project. */
  async #verdicts(window: number): Promise<readonly (readonly Verdict[])[]> {
    const entries = (await this.#term?.state.list(`${this.#prefix()}.${window}` as StateKey)) ?? []
    const tenants = new Map<string, Summary[]>()
    for (const { value } of entries) {
      const summary = JSON.parse(Buffer.from(value).toString()) as Summary
      const same = tenants.get(summary.tenant)
      if (same === undefined) tenants.set(summary.tenant, [summary])
      else same.push(summary)
    }
    const groups = new Map<string, Verdict[]>()
    for (const [tenant, runs] of tenants) {
      for (const verdict of this.#find(
        tenant,
        runs.toSorted((a, b) => a.endMs - b.endMs),
      )) {
        const key = `${tenant}\0${verdict.subject.project}`
        groups.set(key, [...(groups.get(key) ?? []), verdict])
      }
    }
    return [...groups.values()]
  }

  #find(tenant: string, runs: readonly Summary[]): Verdict[] {
    const found = new Map<Summary, RunFinding[]>()
    for (const { name, validator } of this.#options.policies.of(tenant).judges) {
      try {
        validator.judgeRuns?.(runs, (run, finding) => {
          const summary = run as Summary
          const judged = { ...finding, validator: name }
          found.set(summary, [...(found.get(summary) ?? []), { judged, span: undefined }])
        })
      } catch (error) {
        const fields = { validator: name, tenant, error: messageOf(error) }
        this.#options.log.error(fields, 'A validator failed; the runs are judged without it')
      }
    }
    return Array.from(found, ([{ subject }, findings]) => verdictsOf(subject, findings)).flat()
  }

  #progress(): Progress {
    return (this.#term?.record().data as Progress | undefined) ?? { judged: -1 }
  }

  async #save(data: Progress): Promise<void> {
    await this.#term?.save({ data })
  }

  #prefix(): StateKey {
    return stateKey('run-window', this.#term?.record().cursor ?? '')
  }

  #count(window: number): void {
    this.#counts.set(window, (this.#counts.get(window) ?? 0) + 1)
  }
}

function summaryOf({ spans, tenant, project, traceId, runId, agent, status }: Run): RunSummary {
  const steps = new Map<string, number>()
  let [startMs, endMs, errors] = [Infinity, 0, 0]
  for (const span of spans) {
    const count = steps.get(span.step) ?? 0
    // Senders name steps as they like, and state keeps this.
    const isKept =
      span.step !== '' && span.step.length <= LONGEST_STEP && (count > 0 || steps.size < MOST_STEPS)
    if (isKept) steps.set(span.step, count + 1)
    startMs = Math.min(startMs, span.startMs)
    endMs = Math.max(endMs, span.endMs)
    if (span.statusCode === 2) errors++
  }
  const base = { tenant, project, traceId, runId, agent, status, startMs, endMs }
  return { ...base, spans: spans.length, errors, steps: Object.fromEntries(steps) }
}

export function countVerdicts(meter: Meter, verdicts: readonly Verdict[]): void {
  const counter = meter.counter('weir_violations')
  for (const { finding } of verdicts) {
    const { validator, severity } = finding.judged
    counter.add(1, { validator, severity })
  }
}
