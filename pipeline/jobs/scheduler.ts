import { randomUUID } from 'node:crypto'
import { messageOf } from '../fault.ts'
import { within } from '../net/within.ts'
import { sleep } from '../sleep.ts'
import type { StateStore } from '../state/state.ts'
import type { Log } from '../telemetry/log.ts'
import type { Meter } from '../telemetry/meter.ts'
import type { JobEntry } from './catalogue.ts'
import type { Job } from './job.ts'
import { JobKeeper, type KeeperOptions } from './keeper.ts'
import { decodeRecord, JOBS, recordKey } from './record.ts'

export interface SchedulerOptions extends Pick<KeeperOptions, 'pollMs' | 'leaseMs' | 'pauseMs'> {
  readonly state: StateStore
  readonly log: Log
  readonly meter: Meter
  readonly clock: () => number
  readonly holder?: string | undefined
  readonly create: (entry: JobEntry) => Promise<Job>
}

const WATCH_AGAIN_MS = 1000

/** The jobs of one daemon. Daemons agree by the state store alone: each may ask, one runs. */
export class JobScheduler {
  readonly #options: SchedulerOptions
  readonly #holder: string
  readonly #stopping = new AbortController()
  readonly #keepers = new Map<string, JobKeeper>()
  #watching: Promise<void> | undefined

  constructor(options: SchedulerOptions) {
    this.#options = options
    this.#holder = options.holder ?? randomUUID()
  }

  /** Jobs that did not change run on; what others were at is interrupted. Creating may throw, and then nothing has changed. */
  async apply(entries: readonly JobEntry[], deadline: AbortSignal): Promise<readonly string[]> {
    const { create, holder: _, ...common } = this.#options
    const added: JobKeeper[] = []
    for (const entry of entries.filter(({ key }) => !this.#keepers.has(key))) {
      added.push(new JobKeeper({ ...common, entry, job: await create(entry), holder: this.#holder }))
    }
    const wanted = new Set(entries.map(({ key }) => key))
    const gone = [...this.#keepers].filter(([key]) => !wanted.has(key))
    await Promise.all(gone.map(([, keeper]) => keeper.stop(deadline)))
    for (const [key] of gone) this.#keepers.delete(key)
    for (const keeper of added) {
      this.#keepers.set(keeper.key, keeper)
      keeper.start()
    }
    if (this.#keepers.size > 0) this.#watching ??= this.#watch()
    return [...gone.map(([, keeper]) => keeper), ...added].map(({ id }) => `job:${id}`)
  }

  /** What is under way is interrupted, and gone on with by the next holder. */
  async stop(deadline: AbortSignal): Promise<void> {
    this.#stopping.abort()
    await Promise.all([...this.#keepers.values()].map((keeper) => keeper.stop(deadline)))
    await within(deadline, undefined, this.#watching ?? Promise.resolve())
  }

  /** Somebody asks, cancels, or ends a run: the keeper concerned looks again. */
  async #watch(): Promise<void> {
    const { state, log } = this.#options
    const { signal } = this.#stopping
    while (!signal.aborted) {
      try {
        for await (const { key, value } of state.watch(JOBS, signal)) {
          for (const keeper of this.#keepers.values()) {
            if (recordKey(keeper.id) !== key) continue
            keeper.wake(value === undefined ? undefined : decodeRecord(value, keeper.id))
          }
        }
      } catch (error) {
        log.warn({ error: messageOf(error) }, 'Requests for jobs are noticed late')
      }
      await sleep(WATCH_AGAIN_MS, signal)
    }
  }
}
