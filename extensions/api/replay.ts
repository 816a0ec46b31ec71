import { z } from 'zod'
import { TENANT } from '../../pipeline/admission.ts'
import { reject, retry } from '../../pipeline/fault.ts'
import type { Host } from '../../pipeline/host.ts'
import type { KeptCall } from '../../pipeline/run-replay/cache.ts'
import { CacheSource } from '../../pipeline/run-replay/cache-source.ts'
import { isModelCall } from '../../pipeline/run-replay/call-of.ts'
import { HookSource, restore } from '../../pipeline/run-replay/live/hook-source.ts'
import { ModelSource } from '../../pipeline/run-replay/live/model-source.ts'
import type { ReplayPlan } from '../../pipeline/run-replay/plan.ts'
import { replayRun } from '../../pipeline/run-replay/replay.ts'
import { MODES, type ReplayReport } from '../../pipeline/run-replay/report.ts'
import { snapshotOf } from '../../pipeline/run-replay/snapshot.ts'
import { loadRun } from '../../pipeline/runs/load.ts'
import type { RunSteps } from '../../pipeline/runs/steps.ts'
import type { ReplayConfig } from './replay-config.ts'
import { requireRole } from './principal.ts'
import { RunCache, tenantFor, type CacheServices } from './run-cache.ts'
import { bodyOf, ok, type Call, type Reply, type Route } from './route.ts'

const body = z.strictObject({
  mode: z.enum(MODES).default('full'),
  tenant: z.string().regex(TENANT).optional(),
  llm: z.string().optional(),
  model: z.string().min(1).max(256).optional(),
})
type Wanted = z.output<typeof body>

/** `POST /v1/runs/{run}/replay`: makes the calls of a recorded run again, and says what agrees. */
export function replayRoute(host: Host, parts: CacheServices, config: ReplayConfig): Route {
  const desk = new ReplayDesk(host, parts, config)
  return {
    method: 'POST',
    path: '/v1/runs/{run}/replay',
    role: 'read',
    scope: 'tenant',
    audit: { action: 'run.replay' },
    handle: (call) => desk.replay(call),
  }
}

class ReplayDesk {
  readonly #host: Host
  readonly #cache: RunCache
  readonly #config: ReplayConfig
  #running = 0

  constructor(host: Host, parts: CacheServices, config: ReplayConfig) {
    this.#host = host
    this.#cache = new RunCache(parts)
    this.#config = config
  }

  async replay(call: Call): Promise<Reply> {
    const wanted = bodyOf(body, call.body)
    // The others spend the daemon's keys and start its hooks, with what a tenant's own spans say.
    if (wanted.mode !== 'full') requireRole(call.principal, { role: 'admin', scope: 'daemon' })
    if (this.#running >= this.#config.max_concurrent) {
      throw retry('OVERLOADED', `${this.#running} replays are running already`, 1000)
    }
    this.#running++
    try {
      const signal = AbortSignal.any([call.signal, AbortSignal.timeout(this.#config.timeout)])
      const replay = await this.#replay(call, wanted, signal)
      return ok({ replay }, { tenant: replay.tenant, details: { mode: wanted.mode } })
    } catch (error) {
      if (!isTimeout(error)) throw error
      const message = `the replay took longer than ${this.#config.timeout / 1000} s (replay.timeout of the api extension)`
      throw reject('CANCELLED', message, { cause: error })
    } finally {
      this.#running--
    }
  }

  async #replay({ params, principal }: Call, wanted: Wanted, signal: AbortSignal): Promise<ReplayReport> {
    const tenant = tenantFor(principal, wanted.tenant)
    const run = await loadRun(this.#host.query.bind(this.#host), { id: params['run'] ?? '', tenant }, signal)
    const kept = await this.#cache.kept(run)
    if (wanted.mode === 'full') {
      const cache = this.#source(run, kept)
      const none = { endpoint: null, restored: [], notes: [] }
      return replayRun({ run, kept, mode: 'full', llm: cache, tool: cache, ...none }, signal)
    }
    const calls = run.steps.filter((step) => step.kind === 'tool' || isModelCall(step)).length
    if (calls > this.#config.max_calls) {
      throw reject(
        'REQUEST_INVALID',
        `the run has ${calls} calls, and ${this.#config.max_calls} may be made again (replay.max_calls of the api extension)`,
      )
    }
    return this.#live(run, kept, wanted, signal)
  }

  async #live(
    run: RunSteps,
    kept: readonly KeptCall[],
    wanted: Wanted,
    signal: AbortSignal,
  ): Promise<ReplayReport> {
    const [name, endpoint] = this.#endpoint(wanted.llm)
    const model = wanted.model ?? endpoint.model
    const isFull = wanted.mode === 'verification'
    const spans = new Set(kept.map(({ span }) => span))
    const llm = new ModelSource(endpoint, model)
    try {
      const prepared = isFull
        ? await restore(
            this.#config.restore,
            run,
            snapshotOf(run, (span) => spans.has(span)),
            signal,
          )
        : { restored: [], notes: [] }
      const plan: ReplayPlan = {
        run,
        kept,
        mode: isFull ? 'verification' : 'hybrid',
        llm,
        tool: isFull ? new HookSource(this.#config.tools) : this.#source(run, kept),
        endpoint: { endpoint: name, model: model ?? null },
        ...prepared,
      }
      return await replayRun(plan, signal)
    } finally {
      llm.close()
    }
  }

  /** By name, or the only one. */
  #endpoint(name: string | undefined): [string, ReplayConfig['llm'][string]] {
    const all = Object.entries(this.#config.llm)
    const names = all.map(([each]) => each).join(', ')
    const found =
      all.find(([each]) => each === name) ?? (name === undefined && all.length === 1 ? all[0] : undefined)
    if (found !== undefined) return found
    if (all.length === 0) {
      const message = 'no model may be asked: name an endpoint under replay.llm of the api extension'
      throw reject('REQUEST_INVALID', message)
    }
    throw reject(
      'REQUEST_INVALID',
      name === undefined
        ? `say which endpoint: ${names}`
        : `there is no endpoint ${name}; there are: ${names}`,
    )
  }

  #source(run: RunSteps, kept: readonly KeptCall[]): CacheSource {
    return new CacheSource(kept, this.#cache.reason(run))
  }
}

function isTimeout(error: unknown): boolean {
  return error instanceof Error && error.name === 'TimeoutError'
}
