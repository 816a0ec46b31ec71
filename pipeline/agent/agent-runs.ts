import { randomUUID } from 'node:crypto'
import type { Entry } from '../admission.ts'
import type { Context } from '../factory.ts'
import { within } from '../net/within.ts'
import { Appender, type Appended, type AppendRequest } from './append.ts'
import type { RunId } from './ids.ts'
import { endRun, readRun, startRun, type EndRequest, type StartRequest } from './lifecycle.ts'
import { positions, type RunServices } from './publish.ts'
import { Redactor } from './redactor.ts'
import type { RunRecord } from './run-record.ts'
import { RunStore } from './runs.ts'
import { sweepRuns } from './sweep.ts'

export interface AgentRunsOptions {
  /** A run without events for this long is closed as abandoned. */
  readonly idleMs: number
  /** How long ended runs and idempotency keys are remembered. */
  readonly keepMs: number
  /** Keys of a tenant that are remembered. */
  readonly maxKeys: number
  readonly sweepEveryMs?: number
}

const SWEEP_EVERY_MS = 60_000

/** The runs of a receiver: numbering, idempotency, beginning and end (design section 6). */
export class AgentRuns {
  readonly #context: Context
  readonly #options: AgentRunsOptions
  readonly #services: RunServices
  readonly #appender: Appender
  readonly #stopping = new AbortController()
  #sweeping: Promise<void> | undefined

  constructor(context: Context, next: Entry, options: AgentRunsOptions) {
    this.#context = context
    this.#options = options
    const state = () => context.state
    this.#services = {
      store: new RunStore({ state }),
      state,
      next,
      redactor: new Redactor(next, context.clock),
      receiver: context.id,
      clock: context.clock,
      position: positions(next),
    }
    this.#appender = new Appender(this.#services)
  }

  /** See `Appender.append`. */
  append(request: AppendRequest): Promise<readonly Appended[]> {
    return this.#appender.append(request)
  }

  /** See `startRun`. */
  begin(request: StartRequest): Promise<RunRecord> {
    return startRun(this.#services, request)
  }

  /** See `endRun`. */
  end(request: EndRequest): Promise<RunRecord | undefined> {
    return endRun(this.#services, request)
  }

  /** The run as state has it. Throws NOT_FOUND. */
  read(run: RunId, project: string): Promise<RunRecord> {
    return readRun(this.#services, run, project)
  }

  /** Begins to look after open runs. */
  start(): void {
    const { idleMs, keepMs, maxKeys, sweepEveryMs: everyMs = SWEEP_EVERY_MS } = this.#options
    const { log, meter, id } = this.#context
    const forgotten = meter.counter('weir_idempotency_keys_forgotten')
    this.#sweeping ??= sweepRuns(
      {
        services: this.#services,
        log,
        idleMs,
        keepMs,
        maxKeys,
        everyMs,
        forgotten,
        holder: `${id} ${randomUUID()}`,
      },
      this.#stopping.signal,
    ).catch((error: unknown) => log.error({ err: error }, 'runs are no longer looked after'))
  }

  /** Writes down what only this daemon knows. Idempotent. */
  async stop(deadline: AbortSignal): Promise<void> {
    this.#stopping.abort()
    await within(deadline, undefined, Promise.allSettled([this.#sweeping, this.#services.store.stop()]))
  }
}
