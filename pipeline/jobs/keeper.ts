import { anyOf } from '../any-of.ts'
import { faultOf, messageOf } from '../fault.ts'
import { within } from '../net/within.ts'
import { sleep } from '../sleep.ts'
import { acquireLease, type Lease } from '../state/lease.ts'
import type { StateStore } from '../state/state.ts'
import type { Log } from '../telemetry/log.ts'
import type { Meter } from '../telemetry/meter.ts'
import type { JobEntry } from './catalogue.ts'
import type { Job, JobReport } from './job.ts'
import {
  boundReport,
  changeRecord,
  emptyRecord,
  readRecord,
  readRun,
  writeRun,
  type JobRecord,
  type Outcome,
  type Running,
  type RunRecord,
} from './record.ts'
import { lost, RunTask } from './run-task.ts'
import { Timetable } from './timing.ts'

export interface KeeperOptions {
  readonly entry: JobEntry
  readonly job: Job
  readonly state: StateStore
  readonly log: Log
  readonly meter: Meter
  readonly clock: () => number
  /** Name in the lease, unique among daemons. */
  readonly holder: string
  /** How long at most it sleeps before it looks at clock and record again. */
  readonly pollMs?: number
  readonly leaseMs?: number
  /** Pause after a failure that may pass, doubled each time up to `maxMs`. */
  readonly pauseMs?: { readonly minMs: number; readonly maxMs: number }
}

const POLL_MS = 30_000
/** A tick that comes this much too late was missed: with `catch_up: none` it is passed over. */
const LATE_MS = 60_000
/** A run that took this many processes with it since its last checkpoint is not begun again. */
const MAX_TRIES = 5
const PAUSE = { minMs: 2000, maxMs: 300_000 }
const LONGEST_TIMER_MS = 2 ** 31 - 1

/** Sees to it that one job runs when it is due or asked for: here, if this daemon gets the lease. */
export class JobKeeper {
  readonly #options: KeeperOptions
  readonly #table: Timetable
  readonly #stopping = new AbortController()
  #awake = new AbortController()
  /** Ends the run under way: somebody wants it cancelled. */
  #cancel: { readonly id: string; readonly controller: AbortController; by: string | undefined } | undefined
  #looping: Promise<void> | undefined

  constructor(options: KeeperOptions) {
    this.#options = options
    this.#table = new Timetable(options.entry.id, options.entry.config)
  }

  get id(): string {
    return this.#options.entry.id
  }

  get key(): string {
    return this.#options.entry.key
  }

  start(): void {
    this.#looping ??= this.#loop()
  }

  /**
   * What runs is interrupted, to be gone on with by the next holder. A job that does not heed it is left behind: the next
   * holder's fence keeps it from writing.
   */
  async stop(deadline: AbortSignal): Promise<void> {
    this.#stopping.abort()
    this.#awake.abort()
    await within(deadline, undefined, this.#looping ?? Promise.resolve())
  }

  /** The record has changed. */
  wake(record: JobRecord | undefined): void {
    const running = record?.running
    if (running?.cancelledBy !== undefined && running.id === this.#cancel?.id) {
      this.#cancel.by = running.cancelledBy
      this.#cancel.controller.abort()
    }
    if (record?.lastSuccessMs !== undefined) this.#tellSuccess(record.lastSuccessMs)
    this.#awake.abort()
  }

  #tellSuccess(ms: number): void {
    const { meter, entry } = this.#options
    meter.gauge('weir_job_last_success').set(ms / 1000, { job: entry.id })
  }

  async #loop(): Promise<void> {
    const { pauseMs = PAUSE, log, pollMs = POLL_MS, clock } = this.#options
    let pause = pauseMs.minMs
    while (!this.#stopping.signal.aborted) {
      this.#awake = new AbortController()
      let waitMs: number
      try {
        const record = await this.#opened()
        waitMs = this.#wakeMs(record) - clock()
        if (waitMs <= 0) await this.#work()
        pause = pauseMs.minMs
      } catch (error) {
        waitMs = pause * (0.5 + Math.random())
        pause = Math.min(pause * 2, pauseMs.maxMs)
        const fields = { job: this.#options.entry.id, error: messageOf(error) }
        if (!isLost(error)) log.warn(fields, 'A job pauses')
      }
      if (waitMs > 0) await sleep(Math.min(waitMs, pollMs), this.#awake.signal)
    }
  }

  /** The record, made if there is none; a changed timetable begins now. */
  async #opened(): Promise<JobRecord> {
    const { state, entry, clock } = this.#options
    const timing = this.#table.text
    const record = await changeRecord(state, entry.id, (before) => {
      if (before === undefined) return emptyRecord(timing, clock())
      return before.timing === timing || !entry.listed ? undefined : { ...before, timing, tickMs: clock() }
    })
    if (record?.lastSuccessMs !== undefined) this.#tellSuccess(record.lastSuccessMs)
    return record ?? emptyRecord(timing, clock())
  }

  #wakeMs(record: JobRecord): number {
    if (record.running !== undefined || record.queue.length > 0) return 0
    return this.#table.after(record.tickMs)?.dueMs ?? Infinity
  }

  /** Waits for the lease (another daemon may be at it) and does what there is to do then. */
  async #work(): Promise<void> {
    const { state, entry, holder, leaseMs } = this.#options
    const lease = await acquireLease(state, `job ${entry.id}`, holder, {
      signal: this.#stopping.signal,
      ...(leaseMs === undefined ? {} : { ttlMs: leaseMs }),
    })
    if (lease === undefined) return
    try {
      await this.#complete()
      while (!this.#stopping.signal.aborted && !lease.lost.aborted) {
        const running = await this.#take(lease)
        if (running === undefined) return
        await this.#run(running, lease)
      }
    } finally {
      await lease.release()
    }
  }

  /** The slot of a run whose holder ended right after it. */
  async #complete(): Promise<void> {
    const { state, entry } = this.#options
    const last = (await readRecord(state, entry.id))?.last
    if (last === undefined || (await readRun(state, entry.id, last.id)) !== undefined) return
    await writeRun(state, entry.id, last)
  }

  /** The next run, noted as ours: one that was interrupted, one that was asked for, one that is due. */
  async #take(lease: Lease): Promise<Running | undefined> {
    const { state, entry, holder, clock, log } = this.#options
    const nowMs = clock()
    const record = await changeRecord(state, entry.id, (before) => {
      if (before === undefined) return undefined
      const { running } = before
      if (running !== undefined) {
        if (running.fence > lease.fence) throw lost(entry.id)
        const mine = { ...running, fence: lease.fence, holder, tries: running.tries + 1 }
        return { ...before, running: mine }
      }
      const begun = { startedAtMs: nowMs, fence: lease.fence, holder, tries: 1 }
      const [asked, ...queue] = before.queue
      if (asked !== undefined) return { ...before, queue, running: { ...asked, ...begun } }
      const due = this.#table.latest(before.tickMs, nowMs)
      if (due === undefined) return undefined
      if (entry.config.catch_up === 'none' && nowMs - due.dueMs > LATE_MS) {
        log.info({ job: entry.id, missed: new Date(due.tickMs).toISOString() }, 'A run was missed')
        return { ...before, tickMs: due.tickMs }
      }
      const runs = before.runs + 1
      const run = { id: String(runs), by: 'schedule', atMs: due.tickMs, dryRun: false, params: {}, ...begun }
      return { ...before, runs, tickMs: due.tickMs, running: run }
    })
    return record?.running?.fence === lease.fence ? record.running : undefined
  }

  async #run(running: Running, lease: Lease): Promise<void> {
    const { entry, log } = this.#options
    const cancel = { id: running.id, controller: new AbortController(), by: running.cancelledBy }
    this.#cancel = cancel
    if (cancel.by !== undefined) cancel.controller.abort()
    const deadline = this.#deadlineOf(running)
    const { signal: ended, clear } = anyOf([
      lease.lost,
      this.#stopping.signal,
      deadline.signal,
      cancel.controller.signal,
    ])
    log.info(
      { job: entry.id, run: running.id, by: running.by, resumed: running.checkpoint !== undefined },
      'A job runs',
    )
    try {
      const result = await this.#tried(running, ended)
      if (lease.lost.aborted || ('error' in result && isLost(result.error))) return
      if ('report' in result) return await this.#finish(running, 'success', result.report)
      if (cancel.controller.signal.aborted)
        return await this.#finish(running, 'cancelled', undefined, `cancelled by ${cancel.by}`)
      if (deadline.signal.aborted) {
        const text = `not done within its deadline of ${entry.config.deadline / 1000} s`
        return await this.#finish(running, 'timed_out', undefined, text)
      }
      if (this.#stopping.signal.aborted) return await this.#release(running)
      await this.#finish(running, 'failure', undefined, messageOf(result.error))
    } finally {
      this.#cancel = undefined
      deadline.clear()
      clear()
    }
  }

  /** Runs it, again after a pause where what failed may pass, from the checkpoint that was saved last. */
  async #tried(
    running: Running,
    ended: AbortSignal,
  ): Promise<{ readonly report: JobReport } | { readonly error: unknown }> {
    const { entry, job, state, log, clock, pauseMs = PAUSE } = this.#options
    if (running.tries > MAX_TRIES) {
      return { error: new Error(`its process ended ${MAX_TRIES} times without a checkpoint between`) }
    }
    let pause = pauseMs.minMs
    for (;;) {
      if (ended.aborted) return { error: ended.reason }
      const params = entry.factory.params.safeParse(running.params)
      if (!params.success) return { error: new Error('its parameters are not ones that this version takes') }
      const task = new RunTask({ state, log, clock, job: entry.id }, running, params.data)
      try {
        return { report: await job.run(task, ended) }
      } catch (error) {
        const fault = faultOf(error)
        if (ended.aborted || fault?.verdict.do !== 'retry' || isLost(error)) return { error }
        if (fault.code === 'CANCELLED' || fault.code === 'SHUTTING_DOWN') return { error }
        const trouble = messageOf(error)
        log.warn({ job: entry.id, run: running.id, error: trouble }, 'A run pauses, and goes on where it was')
        await task.settled()
        await task.note({ trouble })
        await sleep(pause * (0.5 + Math.random()), ended)
        await task.note({ trouble: undefined })
        pause = Math.min(pause * 2, pauseMs.maxMs)
        running = { ...running, checkpoint: task.checkpoint }
      }
    }
  }

  #deadlineOf(running: Running): { readonly signal: AbortSignal; readonly clear: () => void } {
    const { entry, clock } = this.#options
    const controller = new AbortController()
    if (entry.config.deadline === 0) return { signal: controller.signal, clear: () => undefined }
    const leftMs = running.startedAtMs + entry.config.deadline - clock()
    if (leftMs <= 0) controller.abort()
    const timer = setTimeout(() => controller.abort(), Math.min(Math.max(0, leftMs), LONGEST_TIMER_MS))
    return { signal: controller.signal, clear: () => clearTimeout(timer) }
  }

  /** Interrupted on purpose: that is no try that failed. */
  async #release(running: Running): Promise<void> {
    const { state, entry } = this.#options
    await changeRecord(state, entry.id, (record) =>
      record?.running?.fence === running.fence
        ? { ...record, running: { ...record.running, tries: 0 } }
        : undefined,
    )
  }

  /** By one compare-and-set, so that one who has lost the run cannot end it. */
  async #finish(running: Running, outcome: Outcome, report?: JobReport, error?: string): Promise<void> {
    const { state, entry, meter, log, clock } = this.#options
    const endedAtMs = clock()
    const { id, by, atMs, dryRun, params, startedAtMs, holder } = running
    const last: RunRecord = {
      v: 1,
      id,
      by,
      atMs,
      dryRun,
      params,
      startedAtMs,
      endedAtMs,
      outcome,
      holder,
      ...(report === undefined ? {} : { report: boundReport(report) }),
      ...(error === undefined ? {} : { error }),
    }
    const isSuccess = outcome === 'success' && !dryRun
    await changeRecord(state, entry.id, (record) => {
      if (record?.running?.fence !== running.fence) throw lost(entry.id)
      const { running: _, ...rest } = record
      return { ...rest, last, ...(isSuccess ? { lastSuccessMs: endedAtMs } : {}) }
    })
    await writeRun(state, entry.id, last)
    meter.counter('weir_job_runs').add(1, { job: entry.id, outcome })
    meter.histogram('weir_job_duration_seconds').observe((endedAtMs - startedAtMs) / 1000, { job: entry.id })
    if (isSuccess) this.#tellSuccess(endedAtMs)
    const fields = { job: entry.id, run: id, outcome, counts: report?.counts, error }
    if (error === undefined) log.info(fields, 'A job ended')
    else log.error(fields, 'A job ended before it was done')
  }
}

function isLost(error: unknown): boolean {
  return faultOf(error)?.code === 'LEASE_LOST'
}
