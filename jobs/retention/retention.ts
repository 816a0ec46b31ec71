import { faultOf, messageOf, reject, retry } from '../../pipeline/fault.ts'
import type { Job, JobContext, JobReport, Task } from '../../pipeline/jobs/job.ts'
import {
  DAY_MS,
  type Cutoffs,
  type Deletion,
  type Overdue,
  type Retainable,
} from '../../pipeline/retention.ts'
import { AuditRetention } from './audit-store.ts'
import type { Config, Params } from './config.ts'
import { cutoffsOf } from './policy.ts'

/** What a run remembers: the day that it judges by, and which stores it is done with. */
interface Checkpoint {
  readonly nowMs: number
  readonly done: readonly string[]
  readonly counts: Readonly<Record<string, number>>
  readonly notes: readonly string[]
}

const LEGAL_BASIS = 'retention_policy'
/** Notes per store; the counts have all. */
const MAX_NOTES = 50

/** Has every store delete what is over its time. */
export class RetentionJob implements Job {
  readonly #config: Config
  readonly #context: JobContext

  constructor(config: Config, context: JobContext) {
    this.#config = config
    this.#context = context
  }

  async run(task: Task, signal: AbortSignal): Promise<JobReport> {
    await this.#knowTenants()
    const stores = this.#stores(task.params as Params)
    let state = (task.checkpoint as Checkpoint | undefined) ?? {
      nowMs: task.clock(),
      done: [],
      counts: {},
      notes: [],
    }
    const failures: unknown[] = []
    for (const [at, store] of stores.entries()) {
      task.progress(at, stores.length, 'stores')
      if (state.done.includes(store.store)) continue
      if (signal.aborted) throw retry('CANCELLED', 'retention was interrupted')
      try {
        const { counts, notes } = await this.#one(store, task, state.nowMs, signal)
        state = {
          ...state,
          done: [...state.done, store.store],
          counts: { ...state.counts, ...counts },
          notes: [...state.notes, ...notes],
        }
        await task.save(state)
      } catch (error) {
        if (signal.aborted || ['LEASE_LOST', 'AUDIT_UNAVAILABLE'].includes(faultOf(error)?.code ?? ''))
          throw error
        failures.push(error)
      }
    }
    task.progress(stores.length, stores.length, 'stores')
    fail(failures)
    return { counts: state.counts, notes: state.notes }
  }

  /** Whose tier is not known could lose what he pays for. */
  async #knowTenants(): Promise<void> {
    const { identity } = this.#context
    await identity.ensureFresh()
    if (identity.isWhole()) return
    throw reject(
      'STATE_VERSION',
      'retention: the directory has records that this weir cannot read, and one may be a tenant whose data are kept longer: upgrade this daemon',
    )
  }

  #stores({ store }: Params): readonly Retainable[] {
    const { stores, audit, state, id } = this.#context
    const all = [
      ...stores.retainables(),
      ...(audit === undefined ? [] : [new AuditRetention(state, audit, id)]),
    ]
    const wanted = all.filter((each) => store === undefined || each.store === store)
    if (wanted.length > 0) return wanted
    const names = all.map((each) => each.store).join(', ')
    throw reject(
      'NOT_FOUND',
      `retention: there is no store ${store ?? 'at all'} here that deletes by age; there are: ${names}`,
    )
  }

  async #one(
    store: Retainable,
    task: Task,
    nowMs: number,
    signal: AbortSignal,
  ): Promise<{ readonly counts: Record<string, number>; readonly notes: readonly string[] }> {
    const { tenant } = task.params as Params
    const cutoffs = cutoffsOf(this.#config, this.#context.identity, store.kind, nowMs, tenant)
    const overdue = await store.survey(cutoffs, signal)
    this.#tell(store, overdue)
    const counts: Record<string, number> = {}
    if (task.dryRun) {
      count(counts, store, 'overdue', overdue)
      return { counts, notes: overdue.slice(0, MAX_NOTES).map((each) => noteOf(store, each, cutoffs, nowMs)) }
    }
    if (overdue.length === 0) return { counts, notes: [] }
    const gone = await this.#expire(store, task, cutoffs, signal)
    count(counts, store, 'deleted', gone)
    const left = await store.survey(cutoffs, signal)
    this.#tell(store, left)
    count(counts, store, 'overdue', left)
    return { counts, notes: left.slice(0, MAX_NOTES).map((each) => noteOf(store, each, cutoffs, nowMs)) }
  }

  /** The log knows that it begins before anything is gone, and then of each deletion. */
  async #expire(
    store: Retainable,
    task: Task,
    cutoffs: Cutoffs,
    signal: AbortSignal,
  ): Promise<readonly Deletion[]> {
    const begun = await this.#note(store, task, 'begun', {})
    const gone: Deletion[] = []
    try {
      for await (const deletion of store.expire(cutoffs, signal)) {
        gone.push(deletion)
        await this.#note(store, task, 'ok', { begun }, deletion)
      }
    } catch (error) {
      if (faultOf(error)?.code !== 'AUDIT_UNAVAILABLE') await this.#note(store, task, 'failed', { begun })
      throw error
    }
    return gone
  }

  async #note(
    store: Retainable,
    task: Task,
    outcome: 'begun' | 'ok' | 'failed',
    details: Record<string, number>,
    deletion?: Deletion,
  ): Promise<number> {
    const { audit, id } = this.#context
    if (audit === undefined) return 0
    const what =
      deletion === undefined
        ? {}
        : { items: deletion.items, unit: deletion.unit, oldest: new Date(deletion.oldestMs).toISOString() }
    return await audit.append({
      actor: { id, kind: 'job' },
      action: 'retention.delete',
      object: deletion === undefined ? store.store : `${store.store} ${deletion.object}`,
      ...(deletion?.tenant === undefined ? {} : { tenant: deletion.tenant }),
      outcome,
      legalBasis: LEGAL_BASIS,
      details: { ...details, ...what, run: task.id, by: task.by },
    })
  }

  /** The log of a connector tells its own. */
  #tell(store: Retainable, overdue: readonly Overdue[]): void {
    if (store.kind === 'wal') return
    const items = overdue.reduce((sum, each) => sum + each.items, 0)
    this.#context.meter.gauge('weir_retention_overdue').set(items, { store: store.store })
  }
}

function count(
  counts: Record<string, number>,
  { store }: Retainable,
  what: 'deleted' | 'overdue',
  items: readonly Overdue[],
): void {
  for (const { unit, items: some } of items) {
    const name = `${store} ${unit} ${what}`
    counts[name] = (counts[name] ?? 0) + some
  }
}

function noteOf(store: Retainable, each: Overdue, cutoffs: Cutoffs, nowMs: number): string {
  const cutoff = each.tenant === undefined ? cutoffs.earliestMs : cutoffs.of(each.tenant)
  const lateMs = (Number.isFinite(cutoff) ? cutoff : nowMs) - each.oldestMs
  const over = Number.isFinite(cutoff)
    ? `over by ${(lateMs / DAY_MS).toFixed(1)} days`
    : 'waits for an exporter'
  const whose = each.tenant === undefined ? '' : ` of ${each.tenant === '' ? 'no tenant' : each.tenant}`
  const oldest = new Date(each.oldestMs).toISOString()
  return `${store.store}: ${each.items} ${each.unit}${whose}, the oldest of ${oldest}, ${over}`
}

/** What may pass has the run go on with the stores that it is not done with. */
function fail(failures: readonly unknown[]): void {
  if (failures.length === 0) return
  const text = failures.map(messageOf).join('; ')
  const mayPass = failures.some((error) => faultOf(error)?.verdict.do === 'retry')
  const [cause] = failures
  const message = `retention: ${text}`
  throw mayPass
    ? retry('EXPORT_UNAVAILABLE', message, undefined, { cause })
    : reject('EXPORT_REJECTED', message, { cause })
}
