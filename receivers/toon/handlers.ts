import { createHash, hash, randomUUID } from 'node:crypto'
import canonicalize from 'canonicalize'
import type { Admitted } from '../../pipeline/admission.ts'
import type { AgentRuns } from '../../pipeline/agent/agent-runs.ts'
import type { Appended } from '../../pipeline/agent/append.ts'
import { checkEvents, type CheckedEvent, type EventLimits } from '../../pipeline/agent/check.ts'
import { EventFault } from '../../pipeline/agent/event-fault.ts'
import { MAX_RUN_ID } from '../../pipeline/agent/event.ts'
import { groupByRun } from '../../pipeline/agent/group.ts'
import { runIdOf, type RunId } from '../../pipeline/agent/ids.ts'
import type { RunRecord } from '../../pipeline/agent/run-record.ts'
import { lastOf } from '../../pipeline/agent/seqs.ts'
import { parseTraceparent } from '../../pipeline/agent/traceparent.ts'
import { faultOf } from '../../pipeline/fault.ts'
import { Refusal } from '../../pipeline/net/refusal.ts'
import { eventsOf, valueOf, type Format } from './body.ts'
import type { Action } from './routes.ts'
import { checked, finishBody, startOf } from './start.ts'

/** A request whose body has arrived. */
export interface ToonRequest {
  readonly route: { readonly action: Exclude<Action, 'describe'>; readonly runId: string }
  readonly admitted: Admitted
  /** All values of a header, by its lower-case name. */
  readonly header: (name: string) => readonly string[]
  /** Inflated. */
  readonly body: Uint8Array
  readonly format: Format
}

export interface Reply {
  readonly status: number
  readonly body: object
  readonly headers?: Readonly<Record<string, string>>
}

const MAX_KEY = 255

export class Handlers {
  readonly #runs: AgentRuns
  readonly #limits: EventLimits
  readonly #source: string

  constructor(runs: AgentRuns, limits: EventLimits, receiver: string) {
    this.#runs = runs
    this.#limits = limits
    this.#source = `${receiver}/http`
  }

  handle(request: ToonRequest): Promise<Reply> {
    switch (request.route.action) {
      case 'start':
        return this.#start(request)
      case 'read':
        return this.#read(request)
      case 'append':
        return this.#append(request, runOf(request))
      case 'appendMany':
        return this.#append(request, undefined)
      case 'finish':
        break
    }
    return this.#finish(request)
  }

  async #read(request: ToonRequest): Promise<Reply> {
    return { status: 200, body: stateOf(await this.#runs.read(runOf(request), request.admitted.project)) }
  }

  async #start(request: ToonRequest): Promise<Reply> {
    const { admitted, body, format } = request
    const { id, labels, info } = startOf(await valueOf(body, format, this.#lines))
    const key = keyOf(request)
    const made = id ?? (key === undefined ? randomUUID() : uuidOf(admitted.tenant, key))
    const run = runIdOf(admitted.tenant, made)
    const record = await this.#runs.begin({
      sender: admitted,
      run,
      made: hash('sha256', body, 'buffer').toString('base64url', 0, 16),
      labels,
      info,
      traceparent: traceparentOf(request),
    })
    // What will not change: asked for again, the answer is the same.
    const begun = {
      run_id: record.id,
      trace_id: run.trace,
      status: 'running',
      created_at: timeOf(record.createdMs),
    }
    return { status: 201, body: begun, headers: { location: `/v1/runs/${encodeURIComponent(record.id)}` } }
  }

  async #append(request: ToonRequest, run: RunId | undefined): Promise<Reply> {
    const { admitted, body, format } = request
    const values = await eventsOf(body, format, this.#lines)
    if (values.length === 0) throw new Refusal(422, 'the request has no events')
    const events = checkEvents(values, this.#limits)
    await this.#verify(admitted, events)
    const groups = groupByRun(admitted.tenant, events, run)
    const digest = createHash('sha256').update(body).digest()
    const key = keyOf(request) ?? ownKey(events, digest)
    const appended = await this.#runs.append({
      sender: admitted,
      source: this.#source,
      groups,
      key: key ?? randomUUID(),
      once: key === undefined,
      traceparent: traceparentOf(request),
      body: digest,
    })
    return { status: 202, body: summaryOf(appended, run === undefined) }
  }

  async #finish(request: ToonRequest): Promise<Reply> {
    const { status, error } = checked(finishBody, await valueOf(request.body, request.format, this.#lines))
    const run = runOf(request)
    const traceparent = traceparentOf(request)
    const { project } = request.admitted
    const record = await this.#runs.end({ run, project, status, message: error ?? undefined, traceparent })
    return { status: 200, body: record === undefined ? {} : stateOf(record) }
  }

  get #lines() {
    const { maxDepth, maxEvents, maxEventBytes } = this.#limits
    // The list of events and the object around it are no levels of an event's own.
    return { maxDepth: maxDepth + 2, maxEvents, maxLine: maxEventBytes }
  }

  /** Signatures of single events, where somebody here can check them. */
  async #verify(admitted: Admitted, events: readonly CheckedEvent[]): Promise<void> {
    if (admitted.verifyEvent === undefined) return
    for (const [index, { event }] of events.entries()) {
      if (event.meta?.signature === undefined) continue
      const { signature, ...meta } = event.meta
      try {
        await admitted.verifyEvent(Buffer.from(canonicalize({ ...event, meta }) ?? ''), signature)
      } catch (error) {
        const fault = faultOf(error)
        if (fault?.verdict.do !== 'reject') throw error
        throw new EventFault(fault.code, [{ index, field: 'meta.signature', message: fault.message }])
      }
    }
  }
}

function runOf({ route, admitted }: ToonRequest): RunId {
  if (route.runId.length <= MAX_RUN_ID) return runIdOf(admitted.tenant, route.runId)
  throw new Refusal(404, `a run id has up to ${MAX_RUN_ID} characters`)
}

/** The `Idempotency-Key`, as it is or as the draft's quoted string (draft-ietf-httpapi-idempotency-key-header). */
function keyOf({ header }: ToonRequest): string | undefined {
  const values = header('idempotency-key')
  const [value] = values
  if (value === undefined) return undefined
  const key = /^"(.*)"$/.exec(value.trim())?.[1] ?? value.trim()
  if (values.length === 1 && key !== '' && key.length <= MAX_KEY) return key
  throw new Refusal(400, `Idempotency-Key must be given once, with 1 to ${MAX_KEY} characters`)
}

/**
 * The key of a request without the header: what its events say. One event with its own number is the same when all of
 * it is; one without is new each time (undefined). Throws a Refusal for a batch without.
 */
function ownKey(events: readonly CheckedEvent[], digest: Buffer): string | undefined {
  const keys = events.map(({ event }) => event.meta?.idempotency_key)
  if (keys.every((key) => key !== undefined))
    return keys.length === 1 ? keys[0] : `events ${hash('sha256', keys.join('\0'))}`
  if (events.length > 1) {
    throw new Refusal(400, 'a batch of events needs an Idempotency-Key header, the same for every attempt')
  }
  return events[0]?.event.seq === undefined ? undefined : `event ${digest.toString('hex')}`
}

function traceparentOf({ header }: ToonRequest): string | undefined {
  const [value] = header('traceparent')
  return parseTraceparent(value) === undefined ? undefined : value
}

/** A UUID (version 8, RFC 9562) that the same key gives again. */
function uuidOf(tenant: string, key: string): string {
  const bytes = hash('sha256', `${tenant}\0run\0${key}`, 'buffer').subarray(0, 16)
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x80
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
}

function timeOf(ms: number): string {
  return new Date(ms).toISOString()
}

function stateOf(record: RunRecord): object {
  const { id, status, labels, events, createdMs, closed } = record
  return {
    run_id: id,
    status,
    agent_id: labels.agentId,
    events,
    last_seq: lastOf(record.taken),
    created_at: timeOf(createdMs),
    ...(closed && { finished_at: timeOf(closed.atMs) }),
  }
}

/** A repeat must give the very same, so it is made of nothing but what the reservation remembers. */
function summaryOf(appended: readonly Appended[], many: boolean): object {
  const all = appended.map(({ run, accepted, first, last, duplicates }) => ({
    run_id: run.id,
    accepted,
    first_seq: first,
    last_seq: last,
    duplicates,
  }))
  const [only] = all
  if (!many && only !== undefined) {
    const { run_id: _, ...summary } = only
    return summary
  }
  const sum = (pick: (one: (typeof all)[number]) => number) =>
    all.reduce((total, one) => total + pick(one), 0)
  return {
    accepted: sum(({ accepted }) => accepted),
    ...(all.length === 1 && only && { first_seq: only.first_seq, last_seq: only.last_seq }),
    duplicates: sum(({ duplicates }) => duplicates),
    runs: all,
  }
}
