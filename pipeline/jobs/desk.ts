import { reject } from '../fault.ts'
import { checked } from '../input/issues.ts'
import type { StateStore } from '../state/state.ts'
import type { JobEntry } from './catalogue.ts'
import {
  changeRecord,
  checkParams,
  emptyRecord,
  listRuns,
  MAX_QUEUE,
  readRecord,
  readRun,
  writeRun,
  type Asked,
  type JobRecord,
  type Running,
  type RunRecord,
} from './record.ts'
import { Timetable } from './timing.ts'

export interface JobView {
  readonly entry: JobEntry
  /** When it is due next by its schedule; undefined: only when asked. */
  readonly nextMs: number | undefined
  readonly record: JobRecord | undefined
}

export type RunView =
  | { readonly status: 'queued'; readonly run: Asked }
  | { readonly status: 'running'; readonly run: Running }
  | { readonly status: 'ended'; readonly run: RunRecord }

export interface RunRequest {
  readonly params: unknown
  readonly dryRun: boolean
  readonly by: string
}

/**
 * What operators see of the jobs, and where they ask for runs. It works by the state store alone: any daemon answers,
 * and whichever has the job runs it.
 */
export class JobDesk {
  readonly #state: StateStore
  readonly #entries: readonly JobEntry[]
  readonly #clock: () => number

  constructor(state: StateStore, entries: readonly JobEntry[], clock: () => number) {
    this.#state = state
    this.#entries = entries
    this.#clock = clock
  }

  list(): Promise<JobView[]> {
    return Promise.all(this.#entries.map((entry) => this.#view(entry)))
  }

  get(job: string): Promise<JobView> {
    return this.#view(this.#entry(job))
  }

  async #view(entry: JobEntry): Promise<JobView> {
    const record = await readRecord(this.#state, entry.id)
    const table = new Timetable(entry.id, entry.config)
    return { entry, record, nextMs: table.after(record?.tickMs ?? this.#clock())?.dueMs }
  }

  /** Those that wait, the one under way, and the last ones that ended; newest first. */
  async runs(job: string): Promise<RunView[]> {
    const { id } = this.#entry(job)
    const record = await readRecord(this.#state, id)
    const ended = await listRuns(this.#state, id)
    const running = record?.running
    const last = record?.last
    if (last !== undefined && !ended.some((run) => run.id === last.id)) ended.unshift(last)
    return [
      ...(record?.queue ?? []).toReversed().map((run) => ({ status: 'queued', run }) as const),
      ...(running === undefined ? [] : [{ status: 'running', run: running } as const]),
      ...ended.map((run) => ({ status: 'ended', run }) as const),
    ]
  }

  /** NOT_FOUND where there is none, or it is too long ago. */
  async run(job: string, id: string): Promise<RunView> {
    const entry = this.#entry(job)
    const record = await readRecord(this.#state, entry.id)
    if (record?.running?.id === id) return { status: 'running', run: record.running }
    const asked = record?.queue.find((one) => one.id === id)
    if (asked !== undefined) return { status: 'queued', run: asked }
    if (record?.last?.id === id) return { status: 'ended', run: record.last }
    const run = await readRun(this.#state, entry.id, id)
    if (run === undefined) throw reject('NOT_FOUND', `job ${job} has no run ${id}, or it is too long ago`)
    return { status: 'ended', run }
  }

  /** Gives the id of the run, which comes when those before it are done. */
  async ask(job: string, { params, dryRun, by }: RunRequest): Promise<string> {
    const entry = this.#entry(job)
    checked(entry.factory.params, params ?? {}, { base: ['params'] })
    checkParams(params)
    const nowMs = this.#clock()
    const timing = new Timetable(entry.id, entry.config).text
    const record = await changeRecord(this.#state, entry.id, (before = emptyRecord(timing, nowMs)) => {
      if (before.queue.length >= MAX_QUEUE) {
        throw reject('CONFLICT', `${MAX_QUEUE} runs of job ${job} wait already: cancel some, or wait`)
      }
      const runs = before.runs + 1
      const asked = { id: String(runs), by, atMs: nowMs, dryRun, params: params ?? {} }
      return { ...before, runs, queue: [...before.queue, asked] }
    })
    return record?.queue.at(-1)?.id ?? ''
  }

  /** One that waits never runs; one that runs ends soon. CONFLICT where it has ended. */
  async cancel(job: string, id: string, by: string): Promise<void> {
    const entry = this.#entry(job)
    const nowMs = this.#clock()
    let waiting: Asked | undefined
    let found = false
    await changeRecord(this.#state, entry.id, (before) => {
      waiting = before?.queue.find((asked) => asked.id === id)
      found = waiting !== undefined || before?.running?.id === id
      if (before === undefined || !found) return undefined
      if (waiting !== undefined) return { ...before, queue: before.queue.filter((asked) => asked.id !== id) }
      return before.running === undefined
        ? undefined
        : { ...before, running: { ...before.running, cancelledBy: by } }
    })
    if (waiting !== undefined) {
      const end = { startedAtMs: nowMs, endedAtMs: nowMs, outcome: 'cancelled', holder: '' } as const
      await writeRun(this.#state, entry.id, { v: 1, ...waiting, ...end, error: `cancelled by ${by}` })
    }
    if (found) return
    await this.run(job, id)
    throw reject('CONFLICT', `run ${id} of job ${job} has ended`)
  }

  #entry(job: string): JobEntry {
    const entry = this.#entries.find(({ id }) => id === job)
    if (entry !== undefined) return entry
    const known = this.#entries.map(({ id }) => id).join(', ')
    throw reject('NOT_FOUND', `there is no job ${job} here; there are: ${known === '' ? 'none' : known}`)
  }
}
