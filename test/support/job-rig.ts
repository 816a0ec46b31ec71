import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'vitest'
import { z } from 'zod'
import type { JobFactory } from '../../pipeline/factory.ts'
import type { JobEntry } from '../../pipeline/jobs/catalogue.ts'
import { JobDesk } from '../../pipeline/jobs/desk.ts'
import type { Job, JobReport, Task } from '../../pipeline/jobs/job.ts'
import type { RunRecord } from '../../pipeline/jobs/record.ts'
import { JobScheduler } from '../../pipeline/jobs/scheduler.ts'
import { jobConfig } from '../../pipeline/jobs/timing.ts'
import { EmbeddedState } from '../../pipeline/state/embedded.ts'
import type { StateStore } from '../../pipeline/state/state.ts'
import { createLogger } from '../../pipeline/telemetry/logger.ts'
import { createMeter, type PromMeter } from '../../pipeline/telemetry/prom-meter.ts'

export type Work = (task: Task, signal: AbortSignal) => Promise<JobReport>

export const NOTHING: JobReport = { counts: {}, notes: [] }

export interface JobNode {
  readonly scheduler: JobScheduler
  readonly meter: PromMeter
  /** Once more with other jobs, as a reload does. */
  apply(entries: readonly JobEntry[]): Promise<readonly string[]>
  stop(): Promise<void>
}

/** A job `tidy` of which a test says what it does. */
export function entryOf(
  config: object = {},
  params: z.ZodType = z.strictObject({}),
  listed = true,
): JobEntry {
  const schema = jobConfig({})
  const factory: JobFactory = {
    type: 'tidy',
    summary: 'Tidies.',
    config: schema,
    params,
    load: () => Promise.resolve({ create: (): Job => ({ run: () => Promise.resolve(NOTHING) }) }),
  }
  return { id: 'tidy', factory, config: schema.parse(config), key: JSON.stringify(config), listed }
}

/** Daemons that share one state store, in one process; and a clock that the test sets. */
export class JobRig {
  nowMs = Date.UTC(2026, 0, 5, 12)
  readonly clock = (): number => this.nowMs
  readonly lines: string[] = []
  #state: StateStore | undefined
  readonly #directory = mkdtempSync(join(tmpdir(), 'weir-jobs-'))
  readonly #stops: (() => Promise<void>)[] = []

  async open(state: StateStore = new EmbeddedState(this.#directory)): Promise<this> {
    this.#state = state
    await state.open()
    return this
  }

  get state(): StateStore {
    if (this.#state === undefined) throw new Error('open it first')
    return this.#state
  }

  async close(): Promise<void> {
    await Promise.all(this.#stops.splice(0).map((stop) => stop()))
    await this.state.close()
    rmSync(this.#directory, { recursive: true, force: true })
  }

  desk(entry: JobEntry): JobDesk {
    return new JobDesk(this.state, [entry], this.clock)
  }

  /** One daemon; `state`: its own connection to the shared store. */
  async daemon(entry: JobEntry, work: Work, state: StateStore = this.state): Promise<JobNode> {
    const meter = createMeter()
    const destination = { write: (line: string) => void this.lines.push(line) }
    const scheduler = new JobScheduler({
      state,
      log: createLogger({ level: 'debug', encoding: 'json', resource: {}, destination }),
      meter,
      clock: this.clock,
      pollMs: 20,
      // Longer than a process waits for a busy processor or disk: no test waits for its end.
      leaseMs: 10_000,
      pauseMs: { minMs: 10, maxMs: 20 },
      create: () => Promise.resolve({ run: work }),
    })
    const deadline = (): AbortSignal => AbortSignal.timeout(5000)
    await scheduler.apply([entry], deadline())
    let stopped: Promise<void> | undefined
    const stop = (): Promise<void> => (stopped ??= scheduler.stop(deadline()))
    this.#stops.push(stop)
    return { scheduler, meter, stop, apply: (entries) => scheduler.apply(entries, deadline()) }
  }

  async ask(entry: JobEntry, params: unknown = {}): Promise<string> {
    return this.desk(entry).ask(entry.id, { params, dryRun: false, by: 'ann' })
  }

  /** Those that have ended, oldest first, once there are `count` of them. */
  async ended(entry: JobEntry, count: number): Promise<RunRecord[]> {
    await expect.poll(async () => (await this.endedNow(entry)).length).toBeGreaterThanOrEqual(count)
    return this.endedNow(entry)
  }

  async endedNow(entry: JobEntry): Promise<RunRecord[]> {
    const views = await this.desk(entry).runs(entry.id)
    return views.flatMap((view) => (view.status === 'ended' ? [view.run] : [])).toReversed()
  }
}

/** Something that one side waits for and the other one lets go. */
export function gate(): { readonly passed: Promise<void>; open: () => void } {
  let open = (): void => undefined
  const passed = new Promise<void>((resolve) => {
    open = resolve
  })
  return { passed, open: () => open() }
}
