import type { Standing } from '../admission.ts'
import { digestOf } from '../digest.ts'
import { faultOf, reject } from '../fault.ts'
import type { CheckedEvent } from './check.ts'
import { EventFault } from './event-fault.ts'
import type { RunId } from './ids.ts'
import { pair, type NumberedEvent } from './number.ts'
import { publish, type RunServices } from './publish.ts'
import { newRecord, type KeyEntry, type Pending, type RunRecord } from './run-record.ts'
import type { RunView } from './runs.ts'
import { giveBack, lastOf, numbersOf, take } from './seqs.ts'
import { eventSpans, type RunLabels } from './spans.ts'
import { openMark } from './marks.ts'

/** Events of one run in a request. */
export interface RunGroup {
  readonly run: RunId
  readonly events: readonly CheckedEvent[]
  /** Place of each event in the request. */
  readonly indexes: readonly number[]
  /** Events left out because an earlier one of the request has their `meta.idempotency_key`. */
  readonly duplicates: number
}

export interface AppendRequest {
  readonly sender: Standing
  /** `BatchMeta.source`, e.g. `toon/http`. */
  readonly source: string
  readonly groups: readonly RunGroup[]
  /** Scoped to tenant and run; remembered with the answer. */
  readonly key: string
  /** The key was made up for a request that had none: it is forgotten once it is answered. */
  readonly once?: boolean
  readonly traceparent?: string | undefined
  /** SHA-256 of the request's content: the same key with another one is refused. */
  readonly body: Uint8Array
  /** A run that is not known yet begins with its first event (files); else it is refused with NOT_FOUND. */
  readonly opens?: boolean
}

/** What became of a run's events; a repeat gives the same. */
export interface Appended {
  readonly run: RunId
  readonly accepted: number
  readonly first: number
  readonly last: number
  readonly duplicates: number
}

interface Reservation {
  readonly entry: KeyEntry
  /** True: made by this call, so nobody can have published it. */
  readonly isNew: boolean
  readonly labels: RunLabels
}

/**
 * Numbers a batch's events and publishes them, once, whatever fails in between: reserve numbers under the key by one
 * compare-and-set per run; if an earlier attempt has reserved and its answer is not known, look into the WAL; publish;
 * remember the answer. All events are taken or none. Concurrent calls with one key share the work and the answer.
 *
 * Faults: NOT_FOUND, RUN_CLOSED, SEQ_CONFLICT and EVENT_INVALID (with index and field), KEY_REUSED; whatever the
 * pipeline says; STATE_UNAVAILABLE and WAL_UNAVAILABLE (retry with the same key).
 */
export class Appender {
  readonly #services: RunServices
  readonly #underWay = new Map<
    string,
    { readonly body: string; readonly answer: Promise<readonly Appended[]> }
  >()

  constructor(services: RunServices) {
    this.#services = services
  }

  append(request: AppendRequest): Promise<readonly Appended[]> {
    const scope = request.groups.map(({ run }) => run.trace).join('.')
    const id = `${request.sender.tenant}\0${scope}\0${request.key}`
    const body = Buffer.from(request.body.subarray(0, 16)).toString('base64url')
    const twin = this.#underWay.get(id)
    if (twin !== undefined) return twin.body === body ? twin.answer : Promise.reject(keyReused())
    const key = digestOf(request.key).toString('base64url')
    const digest = digestOf(request.sender.tenant, 'events', scope, key, body)
    const answer = this.#run(request, { key, body, digest }).finally(() => this.#underWay.delete(id))
    this.#underWay.set(id, { body, answer })
    return answer
  }

  async #run(given: AppendRequest, ids: Ids): Promise<readonly Appended[]> {
    const request = await this.#keepable(given)
    const reservations = await this.#reserve(request, ids)
    // All runs of a batch are published at once: what one of them knows to be there is there.
    const isStored = reservations.some(({ entry }) => entry.pending === undefined)
    if (!isStored) await this.#publish(request, reservations, ids)
    for (const [at, { run }] of request.groups.entries()) {
      if (reservations[at]?.entry.pending !== undefined) this.#services.store.noteAnswered(run, ids.key)
    }
    return request.groups.map(({ run }, at) => answerOf(run, reservations[at]?.entry))
  }

  /** With the names of actions as state may keep them. */
  async #keepable(request: AppendRequest): Promise<AppendRequest> {
    const { redactor } = this.#services
    const groups = request.groups.map(async (group) => ({
      ...group,
      events: await Promise.all(
        group.events.map(async (checked) => {
          if (checked.event.type !== 'action_request') return checked
          const { action } = checked.event.payload
          const keptAction = await redactor.action(request.sender, action)
          return keptAction === action ? checked : { ...checked, keptAction }
        }),
      ),
    }))
    return { ...request, groups: await Promise.all(groups) }
  }

  /** In all runs or in none. */
  async #reserve(request: AppendRequest, ids: Ids): Promise<readonly Reservation[]> {
    const position = await this.#services.position()
    const settled = await Promise.allSettled(
      request.groups.map((group) => this.#reserveIn(request, group, ids, position)),
    )
    const failure = settled.find((result) => result.status === 'rejected')
    if (failure === undefined)
      return settled.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
    await this.#release(
      request.groups.filter((_, at) => {
        const result = settled[at]
        return result?.status === 'fulfilled' && result.value.isNew
      }),
      ids,
    )
    throw failure.reason
  }

  async #reserveIn(
    request: AppendRequest,
    group: RunGroup,
    ids: Ids,
    position: string,
  ): Promise<Reservation> {
    const { store, clock, receiver, state, redactor } = this.#services
    const nowMs = clock()
    const plan = { request, group, ids, position, nowMs, receiver }
    const found = await store.change(group.run, (view) => {
      if (view.record === undefined && request.opens === true) return { result: undefined }
      return reserve(view, plan)
    })
    if (found !== undefined) return found
    // So that the run is ended one day even if this daemon dies after the next write.
    await openMark(state(), receiver, group.run)
    const labels = await redactor.labels(request.sender, labelsOf(group))
    const begun = newRecord({ id: group.run.id, receiver, made: '', labels }, request.sender, nowMs)
    return store.change(group.run, (view) => reserve({ ...view, record: view.record ?? begun }, plan))
  }

  async #publish(request: AppendRequest, reservations: readonly Reservation[], ids: Ids): Promise<void> {
    const runs = request.groups.map(({ run, events }, at) => {
      const reservation = reservations[at]
      const labels = reservation?.labels ?? {}
      return { run, labels, events: numberedOf(events, reservation?.entry.pending) }
    })
    const since = reservations.some(({ isNew }) => !isNew) ? earliest(reservations) : undefined
    const publication = {
      sender: request.sender,
      source: request.source,
      digest: ids.digest,
      since,
      whole: true,
    }
    try {
      const outcome = await publish(this.#services, { ...publication, spans: () => eventSpans(runs) })
      if (outcome.rejected.length > 0) throw refusedBy(outcome, request.groups)
    } catch (error) {
      // Nothing of it is stored, nor ever will be: its numbers are free again. An earlier attempt may still land.
      if (since === undefined && faultOf(error)?.verdict.do === 'reject')
        await this.#release(request.groups, ids)
      throw error
    }
  }

  /** Best effort: numbers that stay taken are a gap, which is legal. */
  async #release(groups: readonly RunGroup[], { key }: Ids): Promise<void> {
    await Promise.allSettled(
      groups.map((group) =>
        this.#services.store.change(group.run, ({ record }) => ({
          record: record && released(record, group, key),
          result: undefined,
        })),
      ),
    )
  }
}

interface Ids {
  readonly key: string
  readonly body: string
  readonly digest: Uint8Array
}

interface Plan {
  readonly request: AppendRequest
  readonly group: RunGroup
  readonly ids: Ids
  readonly position: string
  readonly nowMs: number
  readonly receiver: string
}

function reserve(view: RunView, plan: Plan): { readonly record?: RunRecord; readonly result: Reservation } {
  const { find } = view
  const { group, ids } = plan
  const record = runFor(view.record, group.run, plan.request.sender.project)
  const entry = find(ids.key)
  if (entry !== undefined) {
    if (entry.body !== ids.body) throw keyReused()
    return { result: { entry, isNew: false, labels: record.labels } }
  }
  if (record.status !== 'running') throw runClosed(record)
  const base = lastOf(record.taken)
  const numbers = numbersOf(group.events, base)
  const taken = take(record.taken, numbers, group.indexes)
  const numbered = group.events.map((event, at) => ({ ...event, seq: numbers[at] ?? 0 }))
  const { open, early, used, usedEarly } = pair(numbered, record.open, record.early)
  const made: KeyEntry = {
    key: ids.key,
    body: ids.body,
    first: Math.min(...numbers),
    last: Math.max(...numbers),
    accepted: numbers.length,
    duplicates: group.duplicates,
    atMs: plan.nowMs,
    ...(plan.request.once === true && { once: true }),
    pending: { position: plan.position, base, used, early: usedEarly },
  }
  const next: RunRecord = {
    ...record,
    ...spanOf(record, group.events),
    caller: record.caller ?? plan.request.traceparent,
    touchedMs: Math.max(record.touchedMs, plan.nowMs),
    events: record.events + numbers.length,
    taken,
    open,
    early,
    keys: [...record.keys, made],
  }
  return { record: next, result: { entry: made, isNew: true, labels: record.labels } }
}

/** Of a run whose first event opens it. */
function labelsOf({ events }: RunGroup): RunLabels {
  const agent = events.find(({ event }) => event.meta?.agent_id !== undefined)?.event.meta?.agent_id
  return agent === undefined ? {} : { agentId: String(agent) }
}

function released(record: RunRecord, group: RunGroup, key: string): RunRecord {
  const entry = record.keys.find((candidate) => candidate.key === key)
  if (entry?.pending === undefined) return record
  const { base, used, early = [] } = entry.pending
  const numbers = new Set(numbersOf(group.events, base))
  const opened = record.open.filter(({ seq }) => !numbers.has(seq))
  return {
    ...record,
    events: record.events - numbers.size,
    taken: giveBack(record.taken, [...numbers]),
    open: [...opened, ...used].sort((a, b) => a.seq - b.seq),
    early: [...record.early, ...early],
    keys: record.keys.filter((candidate) => candidate !== entry),
  }
}

function numberedOf(events: readonly CheckedEvent[], pending: Pending | undefined): readonly NumberedEvent[] {
  const numbers = numbersOf(events, pending?.base ?? 0)
  const numbered = events.map((event, at) => ({ ...event, seq: numbers[at] ?? 0 }))
  return pair(numbered, pending?.used ?? [], pending?.early).events
}

/** When the run's events began and ended. */
function spanOf(
  record: RunRecord,
  events: readonly CheckedEvent[],
): { readonly fromMs: number; readonly toMs: number } {
  let from = record.fromMs ?? Infinity
  let to = record.toMs ?? -Infinity
  for (const { event, atNs } of events) {
    const end = Number(atNs / 1_000_000n)
    const latency = event.type === 'action_response' ? (event.payload.latency_ms ?? 0) : 0
    from = Math.min(from, Math.max(0, Math.floor(end - latency)))
    to = Math.max(to, end + 1)
  }
  return { fromMs: from, toMs: to }
}

/** Positions are opaque: the oldest reservation has looked first. */
function earliest(reservations: readonly Reservation[]): string {
  const earlier = reservations.filter(({ entry, isNew }) => !isNew && entry.pending !== undefined)
  const [oldest] = earlier.sort((a, b) => a.entry.atMs - b.entry.atMs)
  return oldest?.entry.pending?.position ?? ''
}

function answerOf(run: RunId, entry: KeyEntry | undefined): Appended {
  const { accepted = 0, first = 0, last = 0, duplicates = 0 } = entry ?? {}
  return { run, accepted, first, last, duplicates }
}

function refusedBy(
  outcome: { readonly rejected: readonly { rows: readonly number[]; reason: string }[] },
  groups: readonly RunGroup[],
): EventFault {
  const indexes = groups.flatMap((group) => group.indexes)
  const errors = outcome.rejected.flatMap(({ rows, reason }) =>
    rows.map((row) => ({ index: indexes[row] ?? row, field: '', message: reason })),
  )
  return new EventFault('EVENT_INVALID', errors.slice(0, 20), Math.max(0, errors.length - 20))
}

/**
 * The record of a run for a sender of `project` ('': of the whole tenant). Throws NOT_FOUND, also for a run of another
 * project: whose keys are scoped to a project has no part in the others.
 */
export function runFor(record: RunRecord | undefined, run: RunId, project: string): RunRecord {
  const isOthers =
    project !== '' && record !== undefined && record.project !== '' && record.project !== project
  if (record !== undefined && !isOthers) return record
  throw reject('NOT_FOUND', `there is no run ${run.id}; start it with POST /v1/runs`)
}

export function runClosed(record: RunRecord) {
  return reject('RUN_CLOSED', `the run ${record.id} is ${record.status} and takes no more events`)
}

function keyReused() {
  return reject(
    'KEY_REUSED',
    'this Idempotency-Key was used for another request; give every new request a key of its own',
  )
}
