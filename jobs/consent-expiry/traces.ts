import type { Batch } from '../../pipeline/batch/batch.ts'
import { tracesOf } from '../../pipeline/consent/in-force.ts'
import type { Consent } from '../../pipeline/consent/record.ts'
import { faultOf, reject } from '../../pipeline/fault.ts'
import { factsOf } from '../../pipeline/genai/facts-of.ts'
import type { Stores } from '../../pipeline/jobs/job.ts'
import { theRedactor } from '../../pipeline/jobs/redactor.ts'
import {
  LAST_MS,
  sumOf,
  type Redactable,
  type RedactCount,
  type RedactRequest,
  type StoredRedactor,
} from '../../pipeline/redact.ts'
import type { Ended } from './ended.ts'

/** Within one consent: what is done, and the exporter's own checkpoint of what is under way. */
export interface TracesAt {
  /** `<run's place in the consent>/<exporter>` */
  readonly done: Readonly<Record<string, RedactCount>>
  readonly inner?: { readonly unit: string; readonly at: unknown }
}

export interface TracesWork {
  readonly stores: Stores
  readonly sanitizer: string | undefined
  readonly nowMs: number
  readonly behindMs: number
  readonly dryRun: boolean
  readonly at: TracesAt
  save(at: TracesAt): Promise<void>
  /** Spans of this trace are about to be replaced. */
  changed(tenant: string, trace: string): Promise<void>
  progress(done: number, total: number): void
}

/**
 * Has every store redact what of the consent's scope no consent of `valid` covers, by the rules of now. Throws a Fault that
 * says reject where that cannot be: nobody redacts, or nothing of this tenant's, or no store can be redacted.
 */
export async function redactTraces(
  { consent, pass }: Ended,
  valid: readonly Consent[],
  work: TracesWork,
  signal: AbortSignal,
): Promise<RedactCount> {
  const { tenant, runs = [undefined] } = consent
  if (valid.some((each) => each.runs === undefined)) return { spans: 0, changed: 0 }
  const isKept = keeper(valid)
  let { at } = work
  for (const [place, run] of runs.entries()) {
    for (const [exporter, redactable] of redactables(work, tenant)) {
      const unit = `${place}/${exporter}`
      if (Object.hasOwn(at.done, unit)) continue
      const { done } = at
      const request = {
        fromMs: 0,
        // What is recent was under way at the first pass; at the second it is redacted already, or at rest.
        toMs: pass > 1 ? LAST_MS : work.nowMs - work.behindMs,
        tenant,
        run,
        dryRun: work.dryRun,
      }
      const redact = async (batch: Batch): Promise<void> => {
        if (!isKept(batch)) await redactor(work, tenant).redact(batch)
      }
      const inner = {
        redact,
        checkpoint: at.inner?.unit === unit ? at.inner.at : undefined,
        save: (checkpoint: unknown) => work.save({ done, inner: { unit, at: checkpoint } }),
        changed: (of: string, trace: string) => work.changed(of, trace),
        progress: (some: number, total: number) => work.progress(some, total),
      }
      const count = await orNothing(redactable.redact(request, inner, signal), request, work)
      at = { done: { ...done, [unit]: count } }
      await work.save(at)
    }
  }
  return sumOf(Object.values(at.done))
}

/** In the order of their ids, so that a checkpoint means the same to who goes on. */
function redactables(work: TracesWork, tenant: string): readonly (readonly [string, Redactable])[] {
  redactor(work, tenant)
  const all = [...work.stores.redactables()]
  if (all.length > 0) return all.toSorted(([a], [b]) => (a < b ? -1 : 1))
  throw reject('NOT_FOUND', 'no exporter here can be redacted (clickhouse)')
}

function redactor({ stores, sanitizer }: TracesWork, tenant: string): StoredRedactor {
  const found = theRedactor(stores.redactors(), sanitizer)
  if (!found.spares(tenant)) return found
  throw reject('CONFIG_INVALID', `${found.id} leaves everything of tenant ${tenant} as it is (mode none)`)
}

/** A store need not have a run. That nobody redacts is NOT_FOUND, too, and must not be taken for it. */
async function orNothing(
  counting: Promise<RedactCount>,
  { run, tenant }: Pick<RedactRequest, 'run'> & { readonly tenant: string },
  work: TracesWork,
): Promise<RedactCount> {
  try {
    return await counting
  } catch (error) {
    if (run === undefined || faultOf(error)?.code !== 'NOT_FOUND') throw error
    redactor(work, tenant)
    return { spans: 0, changed: 0 }
  }
}

/** Whether others allow all of a batch, by run or by trace. */
function keeper(valid: readonly Consent[]): (batch: Batch) => boolean {
  const runs = new Set(valid.flatMap((each) => each.runs ?? []))
  const traces = new Set(valid.flatMap((each) => [...tracesOf(each)]))
  return (batch) => {
    if (runs.size === 0) return false
    const { runId } = factsOf(batch)
    for (let row = 0; row < batch.rows; row++) {
      const trace = Buffer.from(batch.traceId(row)).toString('hex')
      if (!traces.has(trace) && !runs.has(runId.at(row))) return false
    }
    return true
  }
}
