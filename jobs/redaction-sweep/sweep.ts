import type { AuditDetails } from '../../pipeline/audit/audit.ts'
import { digestOf } from '../../pipeline/digest.ts'
import { faultOf, retry } from '../../pipeline/fault.ts'
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
import { isDone, notePass } from './passed.ts'

/** Fixed when the run begins, so that who goes on does the same. */
interface Checkpoint {
  readonly fromMs: number
  readonly toMs: number
  /** Digest of the rules of then: what was looked at before an interruption was not by later ones. */
  readonly rules: string
  /** Exporters that are done. */
  readonly done: Readonly<Record<string, RedactCount>>
  /** The exporter's own, of the one under way. */
  readonly inner?: unknown
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
      if (this.#isSweep(params) && (await isDone(this.#context.state, task.job, store.id, rules))) {
        notes.push(`${store.id}: looked at by these rules already`)
        continue
      }
      const { fromMs, toMs, done } = at
      const count = await this.#redact(store, { fromMs, toMs, ...wanted(params, task) }, at, task, signal)
      if (this.#isSweep(params) && !task.dryRun)
        await notePass(this.#context.state, task.job, store.id, rules)
      at = { ...at, inner: undefined, done: { ...done, [store.id]: count } }
      await task.save(at)
    }
    const { spans, changed } = sumOf(Object.values(at.done))
    return { counts: { spans, [task.dryRun ? 'would_change' : 'changed']: changed }, notes }
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
      checkpoint: inner,
      save: (checkpoint: unknown) => task.save({ ...at, inner: checkpoint }),
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
      throw error
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
