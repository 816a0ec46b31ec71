import { messageOf, retry } from '../fault.ts'
import type { StateStore } from '../state/state.ts'
import type { Log } from '../telemetry/log.ts'
import type { Task } from './job.ts'
import { changeRecord, checkCheckpoint, type Running } from './record.ts'

const PROGRESS_MS = 1000

interface Place {
  readonly state: StateStore
  readonly log: Log
  readonly clock: () => number
  readonly job: string
}

/** A run under one lease: everything it writes is refused once another holder has taken it over. */
export class RunTask implements Task {
  readonly id: string
  readonly job: string
  readonly scheduledAtMs: number
  readonly dryRun: boolean
  readonly params: unknown
  readonly by: string
  readonly clock: () => number
  readonly #place: Place
  readonly #fence: number
  #checkpoint: unknown
  #progress: Running['progress']
  #writtenMs = 0
  #writing: Promise<unknown> = Promise.resolve()

  /** `params` as the factory parses them. */
  constructor(place: Place, running: Running, params: unknown) {
    this.#place = place
    this.#fence = running.fence
    this.job = place.job
    this.id = running.id
    this.scheduledAtMs = running.atMs
    this.dryRun = running.dryRun
    this.params = params
    this.by = running.by
    this.clock = place.clock
    this.#checkpoint = running.checkpoint
    this.#progress = running.progress
  }

  get checkpoint(): unknown {
    return this.#checkpoint
  }

  async save(checkpoint: unknown): Promise<void> {
    checkCheckpoint(this.job, checkpoint)
    await this.note({ checkpoint, progress: this.#progress, tries: 0, trouble: undefined })
    // As it will be read back: a job must not depend on what JSON does not keep.
    this.#checkpoint =
      checkpoint === undefined ? undefined : (JSON.parse(JSON.stringify(checkpoint)) as unknown)
  }

  progress(done: number, total: number | undefined, unit: string): void {
    this.#progress = { done, total, unit }
    const nowMs = performance.now()
    if (nowMs - this.#writtenMs < PROGRESS_MS) return
    this.#writtenMs = nowMs
    this.#writing = this.note({ progress: this.#progress }).catch((error: unknown) => {
      this.#place.log.debug({ error: messageOf(error) }, 'The progress of a run was not written')
    })
  }

  /** Writes of `progress` that are under way. */
  settled(): Promise<unknown> {
    return this.#writing
  }

  /** Changes the running record. Throws LEASE_LOST where it is not ours any more. */
  async note(change: Partial<Running>): Promise<void> {
    await changeRecord(this.#place.state, this.job, (record) => {
      const running = record?.running
      if (record === undefined || running?.id !== this.id || running.fence !== this.#fence)
        throw lost(this.job)
      return { ...record, running: { ...running, ...change } }
    })
  }
}

export function lost(job: string) {
  return retry('LEASE_LOST', `job ${job} is run by another daemon now`)
}
