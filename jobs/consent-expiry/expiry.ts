import { everyConsent } from '../../pipeline/consent/consents.ts'
import { stillAgreed } from '../../pipeline/consent/in-force.ts'
import type { Consent } from '../../pipeline/consent/record.ts'
import { faultOf, messageOf, reject, retry } from '../../pipeline/fault.ts'
import { feedersOf, firstBehind, headsOf, type Feeders } from '../../pipeline/jobs/feeders.ts'
import type { Job, JobContext, JobReport, Task } from '../../pipeline/jobs/job.ts'
import { consentedPlaces, forgetConsented, forgetRun } from '../../pipeline/run-replay/cache.ts'
import type { StateStore } from '../../pipeline/state/state.ts'
import type { Config, Params } from './config.ts'
import { endedConsents, noteActed, type Ended } from './ended.ts'
import { redactTraces, type TracesAt, type TracesWork } from './traces.ts'

type Counts = Readonly<Record<string, number>>

/** What is done of other consents stands in state, one record each. */
interface Checkpoint {
  /** By which the run judges. */
  readonly nowMs: number
  readonly counts: Counts
  /** The consent whose traces are being redacted. */
  readonly current?: {
    readonly tenant: string
    readonly id: string
    readonly pass: number
    readonly at: TracesAt
  }
}

/** Failures that the error of a run names. */
const MAX_NAMED = 10

/** What only an ended consent allowed goes: kept answers are deleted, raw traces redacted. */
export class ConsentExpiry implements Job {
  readonly #config: Config
  readonly #context: JobContext

  constructor(config: Config, context: JobContext) {
    this.#config = config
    this.#context = context
  }

  async run(task: Task, signal: AbortSignal): Promise<JobReport> {
    let at = (task.checkpoint as Checkpoint | undefined) ?? { nowMs: task.clock(), counts: {} }
    const { tenant } = task.params as Params
    const span = { nowMs: at.nowMs, gapMs: this.#config.behind, tenant }
    const due = await endedConsents(this.#context.state, span)
    const failures: string[] = []
    const notes: string[] = []
    for (const [done, ended] of due.entries()) {
      task.progress(done, due.length, 'consents')
      if (signal.aborted) throw retry('CANCELLED', 'consent expiry was interrupted')
      const behind = await this.#waitsFor(ended)
      if (behind !== undefined) {
        const { tenant: of, id } = ended.consent
        notes.push(`consent ${id} of tenant ${of}: waits for ${behind}, which may yet bring raw traces`)
        continue
      }
      try {
        const counts = await this.#end(ended, at, task, signal)
        at = { nowMs: at.nowMs, counts: added(at.counts, { [ended.consent.type]: 1, ...counts }) }
        await task.save(at)
      } catch (error) {
        // The others do not wait for what somebody has to mend.
        if (signal.aborted || faultOf(error)?.verdict.do !== 'reject') throw error
        const { consent, how } = ended
        failures.push(
          `${consent.type} ${consent.id} of tenant ${consent.tenant} (${how}): ${messageOf(error)}`,
        )
      }
    }
    if (failures.length > 0) throw unfinished(failures)
    return { counts: at.counts, notes: notes.slice(0, MAX_NAMED) }
  }

  /** The cursor that has yet to bring what came before the first pass: the second one would not find it. */
  async #waitsFor({ consent, heads = {} }: Ended): Promise<string | undefined> {
    if (consent.type !== 'raw_trace_storage') return undefined
    return await firstBehind(this.#context.state, this.#feeders(), heads)
  }

  #feeders(): Feeders {
    const { stores } = this.#context
    const redacted = stores.exporters().filter(({ exporter }) => exporter.redactable !== undefined)
    return redacted.flatMap((store) => feedersOf(stores, store))
  }

  /** The log knows that it begins before anything is gone. */
  async #end(ended: Ended, at: Checkpoint, task: Task, signal: AbortSignal): Promise<Counts> {
    if (task.dryRun) return this.#act(ended, at, task, signal)
    const begun = await this.#note(ended, task, 'begun', {})
    let counts: Counts
    try {
      counts = await this.#act(ended, at, task, signal)
    } catch (error) {
      if (faultOf(error)?.verdict.do === 'reject')
        await this.#note(ended, task, 'failed', { begun, reason: messageOf(error).slice(0, 256) })
      throw error
    }
    await this.#note(ended, task, 'ok', { begun, ...counts })
    const heads = ended.heads ?? (await headsOf(this.#context.stores, this.#feeders()))
    await noteActed(this.#context.state, ended, at.nowMs, heads)
    return counts
  }

  async #act(ended: Ended, at: Checkpoint, task: Task, signal: AbortSignal): Promise<Counts> {
    const { state } = this.#context
    const { consent } = ended
    // Read now: somebody may have agreed since the run began.
    const others = await everyConsent(state, consent.tenant)
    switch (consent.type) {
      case 'llm_response_caching': {
        if (task.dryRun) return { cached_records: await countAnswers(state, consent, others, at.nowMs) }
        await forgetConsented(state, consent, others, at.nowMs)
        return {}
      }
      case 'raw_trace_storage': {
        const valid = stillAgreed(consent, others, at.nowMs)
        const { spans, changed } = await redactTraces(ended, valid, this.#work(ended, at, task), signal)
        return { spans, [task.dryRun ? 'would_change' : 'changed']: changed }
      }
      // Nothing in weir rests on these: that they are over is logged.
      case 'extended_retention':
      case 'analytics':
      case 'model_training':
      default:
        return {}
    }
  }

  #work(
    { consent: { tenant, id }, pass }: Ended,
    { nowMs, counts, current }: Checkpoint,
    task: Task,
  ): TracesWork {
    const isCurrent = current?.tenant === tenant && current.id === id && current.pass === pass
    return {
      stores: this.#context.stores,
      sanitizer: this.#config.sanitizer,
      nowMs,
      behindMs: this.#config.behind,
      dryRun: task.dryRun,
      at: isCurrent ? current.at : { done: {} },
      save: (at) => task.save({ nowMs, counts, current: { tenant, id, pass, at } } satisfies Checkpoint),
      // Kept answers are as the old rules left them.
      changed: (of, trace) => forgetRun(this.#context, { tenant: of, trace }, task.clock()),
      progress: (done, total) => task.progress(done, total, 'spans'),
    }
  }

  async #note(
    { consent, how, pass }: Ended,
    task: Task,
    outcome: 'begun' | 'ok' | 'failed',
    details: Readonly<Record<string, string | number>>,
  ): Promise<number> {
    const entry = {
      actor: { id: task.job, kind: 'job' },
      action: 'consent.end',
      object: consent.id,
      tenant: consent.tenant,
      outcome,
      legalBasis: how === 'expired' ? 'consent_expiry' : 'consent_revocation',
      details: { ...details, type: consent.type, pass, run: task.id, by: task.by },
    } as const
    return (await this.#context.audit?.append(entry)) ?? 0
  }
}

/** How many records of the cache hold what only `ended` allowed. */
async function countAnswers(
  state: StateStore,
  ended: Consent,
  others: readonly Consent[],
  nowMs: number,
): Promise<number> {
  let records = 0
  for (const place of (await consentedPlaces(state, ended, others, nowMs)) ?? []) {
    records += (await state.list(place)).length
  }
  return records
}

function added(counts: Counts, more: Counts): Counts {
  const names = [...new Set([...Object.keys(counts), ...Object.keys(more)])]
  return Object.fromEntries(names.map((name) => [name, (counts[name] ?? 0) + (more[name] ?? 0)]))
}

function unfinished(failures: readonly string[]): Error {
  const more = failures.length > MAX_NAMED ? ` and ${failures.length - MAX_NAMED} more` : ''
  return reject(
    'EXPORT_REJECTED',
    `consent expiry: not done, and tried again by the next run: ${failures.slice(0, MAX_NAMED).join('; ')}${more}`,
  )
}
