import type { Standing } from '../admission.ts'
import { digestOf } from '../digest.ts'
import { reject } from '../fault.ts'
import type { RunId } from './ids.ts'
import { runClosed, runFor } from './append.ts'
import { doneMark, openMark } from './marks.ts'
import { publish, type RunServices } from './publish.ts'
import {
  decode,
  encode,
  infoKey,
  KEYS_PER_PAGE,
  newRecord,
  type RunInfo,
  type RunRecord,
  type RunStatus,
} from './run-record.ts'
import { endSpans, type RunEnd, type RunLabels } from './spans.ts'
import { parseTraceparent } from './traceparent.ts'

export interface StartRequest {
  readonly sender: Standing
  readonly run: RunId
  /** First 128 bits of SHA-256 over what was asked for, base64url: asked for again, it is the same run. */
  readonly made: string
  readonly labels: RunLabels
  readonly info: RunInfo
  readonly traceparent?: string | undefined
}

export type EndStatus = Exclude<RunStatus, 'running'>

/** Begins a run. Throws RUN_EXISTS when there is one of that id that was asked for otherwise. */
export async function startRun(services: RunServices, request: StartRequest): Promise<RunRecord> {
  const { store, state, receiver, clock, redactor } = services
  const { run, sender, made } = request
  const present = await store.change(run, ({ record }) => ({ result: record }))
  if (present !== undefined) return same(present, made)
  const labels = await redactor.labels(sender, request.labels)
  const info: RunInfo = { attributes: await redactor.attributes(sender, request.info.attributes) }
  await openMark(state(), receiver, run)
  await state().put(infoKey(run, made), encode(info))
  const nowMs = clock()
  const record = await store.change(run, ({ record: other }) => {
    if (other !== undefined) return { result: other }
    const begun = newRecord(
      { id: run.id, receiver, made, labels, caller: request.traceparent },
      sender,
      nowMs,
    )
    return { record: begun, result: begun }
  })
  // Another request was first.
  if (record.made !== made) await state().delete(infoKey(run, made))
  return same(record, made)
}

function same(record: RunRecord, made: string): RunRecord {
  if (record.made === made) return record
  throw reject('RUN_EXISTS', `there is a run ${record.id} already; choose another run_id, or leave it out`)
}

/** The run as state has it. Throws NOT_FOUND (`runFor`). */
export async function readRun(services: RunServices, run: RunId, project: string): Promise<RunRecord> {
  return runFor(await services.store.read(run), run, project)
}

export interface EndRequest {
  readonly run: RunId
  /** Of who asks; absent: of the whole tenant, or weir itself. */
  readonly project?: string
  readonly status: EndStatus
  /** Why it failed. */
  readonly message?: string | undefined
  readonly traceparent?: string | undefined
  /** Only if nothing has happened since, Unix ms: for abandoned runs. */
  readonly idleSinceMs?: number
}

/** Whose rules decide what of a message is kept: only the tenant matters. */
function anyOf({ run, project = '' }: EndRequest): Standing {
  return { tenant: run.tenant, project, principal: '' }
}

interface Ended {
  readonly record: RunRecord | undefined
  readonly isNew: boolean
}

/**
 * Closes a run: one compare-and-set decides who does, and the root span is published once. Asked for again with the
 * same status it gives the same. Throws NOT_FOUND, or RUN_CLOSED when the run ended otherwise. Undefined: it was not
 * idle after all.
 */
export async function endRun(services: RunServices, request: EndRequest): Promise<RunRecord | undefined> {
  const { store, clock, redactor } = services
  const position = await services.position()
  const message =
    request.message === undefined
      ? undefined
      : await redactor.text(anyOf(request), 'message', request.message)
  const { record, isNew } = await store.change<Ended>(request.run, ({ record: present }) => {
    const before = runFor(present, request.run, request.project ?? '')
    if (before.status !== 'running') {
      if (before.status !== request.status) throw runClosed(before)
      return { result: { record: before, isNew: false } }
    }
    if (request.idleSinceMs !== undefined && before.touchedMs > request.idleSinceMs) {
      return { result: { record: undefined, isNew: false } }
    }
    const closed = { atMs: clock(), position, written: false, message }
    const after: RunRecord = {
      ...before,
      status: request.status,
      caller: before.caller ?? request.traceparent,
      closed,
    }
    return { record: after, result: { record: after, isNew: true } }
  })
  if (record !== undefined && record.closed?.written !== true)
    await writeEnd(services, request.run, record, isNew)
  return record
}

/** Publishes the root span of a closed run and notes that it is there. */
export async function writeEnd(
  services: RunServices,
  run: RunId,
  record: RunRecord,
  isNew = false,
): Promise<void> {
  const { store, state } = services
  if (record.closed === undefined || record.status === 'running') return
  const entry = await state().get(infoKey(run, record.made))
  const info: RunInfo = entry === undefined ? { attributes: [] } : (decode(entry.value) as RunInfo)
  const end = endOf(run, record, info)
  await publish(services, {
    sender: { tenant: run.tenant, project: record.project, principal: record.principal },
    source: `${record.receiver}/run`,
    digest: digestOf(run.tenant, 'root', run.trace),
    spans: () => endSpans(end),
    since: isNew ? undefined : record.closed.position,
    whole: false,
  })
  const { atMs } = record.closed
  await store.change(run, ({ record: latest }) => {
    if (latest?.closed === undefined) return { result: undefined }
    return { record: { ...latest, closed: { ...latest.closed, written: true } }, result: undefined }
  })
  const keys = record.keys.length + (record.pages[1] - record.pages[0]) * KEYS_PER_PAGE
  await doneMark(state(), record.receiver, run, { atMs, keys })
}

/** A run that is sent afterwards, or that nobody finished, ended with its last event; else when it was finished. */
function endOf(run: RunId, record: RunRecord, info: RunInfo): RunEnd {
  const { createdMs, fromMs = createdMs, toMs = createdMs, closed, status } = record
  const isLive = toMs >= createdMs && status !== 'abandoned'
  const startMs = Math.min(createdMs, fromMs)
  const endMs = Math.max(startMs, isLive ? Math.max(toMs, closed?.atMs ?? 0) : toMs)
  return {
    run: { ...run, id: record.id },
    labels: record.labels,
    status: status === 'running' ? 'abandoned' : status,
    message: closed?.message,
    startNs: BigInt(startMs) * 1_000_000n,
    endNs: BigInt(endMs) * 1_000_000n,
    attributes: info.attributes,
    open: record.open,
    caller: parseTraceparent(record.caller),
  }
}
