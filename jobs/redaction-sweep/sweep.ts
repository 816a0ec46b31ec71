import type { AuditDetails } from '../../pipeline/audit/audit.ts'
import { digestOf } from '../../pipeline/digest.ts'
import { faultOf, reject, retry } from '../../pipeline/fault.ts'
import { feedersOf, headsOf } from '../../pipeline/jobs/feeders.ts'
import type { Job, JobContext, JobReport, StoredExporter, Task } from '../../pipeline/jobs/job.ts'
import { theRedactor } from '../../pipeline/jobs/redactor.ts'
import { forgetRun } from '../../pipeline/run-replay/cache.ts'
import {
  LAST_MS,
  sumOf,
  type RedactCount,
  type RedactRequest,
  type StoredRedactor,
} from '../../pipeline/redact.ts'
import type { Config, Params } from './config.ts'
import { isDone, notePass, waitsFor } from './passed.ts'

/** Fixed when the run begins, so that who goes on does the same. */
interface Checkpoint {
  readonly fromMs: number
  readonly toMs: number
  /** Digest of the rules of then: what was looked at before an interruption was not by later ones. */
  readonly rules: string
  /** Exporters that are done. */
  readonly done: Readonly<Record<string, RedactCount>>
  /** The exporter's own, of the one under way: which comes next may be another one when the run goes on. */
  readonly inner?: { readonly exporter: string; readonly at: unknown } | undefined
}

export class RedactionSweep implements Job {
  readonly #config: Config
  readonly #context: JobContext

  constructor(config: Config, context: JobContext) {
    this.#config = config
    this.#context = context
  }

  async run(task: Task, signal: AbortSignal): Promise<JobReport> {
    const params = task.params as Params
    const notes: string[] = []
    let at = (task.checkpoint as Checkpoint | undefined) ?? this.#begin(params, task)
    const { rules } = at
    for (const store of this.#stores()) {
      if (Object.hasOwn(at.done, store.id)) continue
      const isSweep = this.#isSweep(params)
      const why = isSweep ? await this.#restsBy(rules, store, task) : undefined
      if (why !== undefined) {
        notes.push(`${store.id}: ${why}`)
        continue
      }
      const { fromMs, toMs, done } = at
      const count = await this.#redact(store, { fromMs, toMs, ...wanted(params, task) }, at, task, signal)
      if (isSweep && !task.dryRun) await this.#notePass(rules, store, task)
      at = { ...at, inner: undefined, done: { ...done, [store.id]: count } }
      await task.save(at)
    }
    const { spans, changed } = sumOf(Object.values(at.done))
    await this.#refuseLeftOut(at, params, task)
    if (spans === 0 && params.run !== undefined) throw reject('NOT_FOUND', `there is no run ${params.run}`)
    return { counts: { spans, [task.dryRun ? 'would_change' : 'changed']: changed }, notes }
  }

  /** Why a sweep by these rules need not, or cannot yet, look at the store. */
  async #restsBy(rules: string, store: StoredExporter, task: Task): Promise<string | undefined> {
    const { state, stores } = this.#context
    if (await isDone(state, task.job, store.id, rules)) return 'looked at by these rules already'
    const behind = await waitsFor(state, task.job, store.id, rules, feedersOf(stores, store))
    return behind && `waits for ${behind}, which has yet to bring what was taken in under the old rules`
  }

  async #notePass(rules: string, store: StoredExporter, task: Task): Promise<void> {
    const { state, stores } = this.#context
    await notePass(state, task.job, store.id, rules, await headsOf(stores, feedersOf(stores, store)))
  }

  /** An exporter that does not run now holds what it holds all the same. */
  async #refuseLeftOut({ done, rules }: Checkpoint, params: Params, { job }: Task): Promise<void> {
    const { state, stores } = this.#context
    const running = new Set(stores.exporters().map(({ id }) => id))
    for (const id of stores.redactables().keys()) {
      if (running.has(id) || Object.hasOwn(done, id)) continue
      if (this.#isSweep(params) && (await isDone(state, job, id, rules))) continue
      throw retry('EXPORT_UNAVAILABLE', `exporter ${id} does not run now: what it holds is not redacted yet`)
    }
  }

  /** The hourly kind: its outcome says something about all that is stored. */
  #isSweep({ run, tenant, from, to, force }: Params): boolean {
    return !force && [run, tenant, from, to].every((value) => value === undefined)
  }

  #begin({ run, from, to }: Params, task: Task): Checkpoint {
    const nowMs = task.clock()
    const isNamed = run !== undefined
    return {
      fromMs: from ?? (isNamed ? 0 : nowMs - this.#config.window),
      toMs: to ?? (isNamed ? LAST_MS : nowMs - this.#config.behind),
      rules: digestOf('rules', this.#redactor().rules).toString('hex'),
      done: {},
    }
  }

  async #redact(
    store: StoredExporter,
    request: RedactRequest,
    { inner, ...at }: Checkpoint,
    task: Task,
    signal: AbortSignal,
  ): Promise<RedactCount> {
    const { redactable } = store.exporter
    if (redactable === undefined) return { spans: 0, changed: 0 }
    const entry = {
      actor: { id: task.job, kind: 'job' },
      action: 'redaction.sweep',
      ...(request.run !== undefined && { object: request.run }),
      ...(request.tenant !== undefined && { tenant: request.tenant }),
    } as const
    const details = { exporter: store.id, by: task.by, run: task.id }
    const begun = task.dryRun ? 0 : await this.#context.audit?.append({ ...entry, outcome: 'begun', details })
    const work = {
      redact: (batch: Parameters<StoredRedactor['redact']>[0]) => this.#redactor().redact(batch),
      checkpoint: inner?.exporter === store.id ? inner.at : undefined,
      save: (checkpoint: unknown) =>
        task.save({ ...at, inner: { exporter: store.id, at: checkpoint } } satisfies Checkpoint),
      // Kept answers are as the old rules left them, and a replay would show them.
      changed: (tenant: string, trace: string) =>
        forgetRun(this.#context, { tenant, trace }, this.#context.clock()),
      progress: (done: number, total: number) => task.progress(done, total, 'spans'),
    }
    const end = async (outcome: 'ok' | 'failed', more: AuditDetails): Promise<void> => {
      if (task.dryRun) return
      await this.#context.audit?.append({
        ...entry,
        outcome,
        details: { ...details, begun: begun ?? 0, ...more },
      })
    }
    let count: RedactCount
    try {
      count = await redactable.redact(request, work, signal)
    } catch (error) {
      // That it failed is worth less than why. Who goes on with it enters a beginning of its own.
      await end('failed', { code: faultOf(error)?.code ?? 'INTERNAL' }).catch(() => undefined)
      if (request.run === undefined || faultOf(error)?.code !== 'NOT_FOUND') throw error
      // Another store may have the run. That nobody redacts is NOT_FOUND, too, and must not be taken for it.
      this.#redactor()
      return { spans: 0, changed: 0 }
    }
    await end('ok', { spans: count.spans, changed: count.changed })
    return count
  }

  /** In the order of their ids, so that a checkpoint means the same to who goes on. */
  #stores(): readonly StoredExporter[] {
    const stores = this.#context.stores
      .exporters()
      .filter(({ exporter }) => exporter.redactable !== undefined)
    if (stores.length === 0) {
      throw retry('EXPORT_UNAVAILABLE', 'no exporter that can be redacted (clickhouse) is running')
    }
    return stores.toSorted((a, b) => (a.id < b.id ? -1 : 1))
  }

  #redactor(): StoredRedactor {
    return theRedactor(this.#context.stores.redactors(), this.#config.sanitizer)
  }
}

function wanted({ run, tenant }: Params, { dryRun }: Task): Pick<RedactRequest, 'run' | 'tenant' | 'dryRun'> {
  return { run, tenant, dryRun }
}
