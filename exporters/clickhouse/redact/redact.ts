import { traceIdOf } from '../../../pipeline/agent/ids.ts'
import { faultOf, messageOf, reject, retry } from '../../../pipeline/fault.ts'
import type { RedactCount, RedactRequest, RedactWork } from '../../../pipeline/redact.ts'
import { settleMutations } from '../mutations.ts'
import { tidyAbandoned } from './abandoned.ts'
import { Replacement, type RedactPlace } from './replacement.ts'
import { changedBy, SELECT_ROWS } from './rows.ts'

/** Rows read at a time, and the bytes of their attributes. */
const CHUNK_ROWS = 5000
const CHUNK_BYTES = 32 * 1024 * 1024
/** Runs listed at a time. */
const PAGE = 1000
/** Rows replaced at a time: each time ClickHouse writes the partitions anew that hold them. */
const MAX_CHANGED = 100_000

/** Done up to and with this run; what was changed of them is in the table, or, where `staged` is named, waits to be put there. */
interface Checkpoint {
  readonly after: readonly [tenant: string, trace: string]
  readonly spans: number
  readonly changed: number
  readonly staged?: string
}

interface RunRow {
  readonly tenant: string
  readonly trace: string
  readonly rows: number
  readonly bytes: number
}

/** Has the spans of a time looked at again, trace by trace, and replaces those that come out differently. */
export async function redactTable(
  place: RedactPlace,
  request: RedactRequest,
  work: RedactWork,
  signal: AbortSignal,
): Promise<RedactCount> {
  try {
    return await new Sweep(place, request, work, signal).run()
  } catch (error) {
    throw (
      faultOf(error) ??
      retry('EXPORT_UNAVAILABLE', `clickhouse: redact: ${messageOf(error)}`, undefined, { cause: error })
    )
  }
}

class Sweep {
  readonly #place: RedactPlace
  readonly #request: RedactRequest
  readonly #work: RedactWork
  readonly #signal: AbortSignal
  readonly #where: string
  #at: Checkpoint
  #pending: Replacement

  constructor(place: RedactPlace, request: RedactRequest, work: RedactWork, signal: AbortSignal) {
    this.#place = place
    this.#request = request
    this.#work = work
    this.#signal = signal
    this.#at = (work.checkpoint as Checkpoint | undefined) ?? { after: ['', ''], spans: 0, changed: 0 }
    this.#pending = new Replacement(place)
    this.#where = [
      'Timestamp >= fromUnixTimestamp64Milli({from:Int64}) AND Timestamp < fromUnixTimestamp64Milli({to:Int64})',
      // Rows of another program belong to no tenant, and have no ids that could name them.
      "TenantId != ''",
      ...(request.tenant === undefined ? [] : ['TenantId = {tenant:String}']),
      ...(request.run === undefined ? [] : ['(RunId = {run:String} OR TraceId = {hex:String})']),
    ].join(' AND ')
  }

  async run(): Promise<RedactCount> {
    if (!this.#request.dryRun) {
      await tidyAbandoned(this.#place, this.#at.staged, () => this.#save(this.#at))
      // ClickHouse goes on with a reprice by itself: rows that are put in meanwhile would keep the old prices.
      await settleMutations(this.#place, `${this.#place.target.tracesName}_reprice_`, this.#signal)
    }
    if (this.#at.staged !== undefined)
      await this.#finish(new Replacement(this.#place, this.#at.staged), this.#at)
    const total = await this.#total()
    if (this.#request.run !== undefined && total === 0 && this.#at.spans === 0) {
      throw reject('NOT_FOUND', `there is no run ${this.#request.run}`)
    }
    let { after, spans, changed } = this.#at
    for (let page = await this.#page(after); page.length > 0; page = await this.#page(after)) {
      for (const run of page) {
        changed += await this.#look(run)
        spans += run.rows
        after = [run.tenant, run.trace]
        this.#work.progress(spans, total)
        if (this.#pending.rows >= MAX_CHANGED) await this.#flush({ after, spans, changed })
      }
      if (this.#pending.rows === 0) await this.#save({ after, spans, changed })
    }
    await this.#flush({ after, spans, changed })
    return { spans, changed }
  }

  /** How many rows of the run come out differently. */
  async #look({ tenant, trace, rows, bytes }: RunRow): Promise<number> {
    const parts = Math.max(1, Math.ceil(rows / CHUNK_ROWS), Math.ceil(bytes / CHUNK_BYTES))
    let changed = 0
    for (let part = 0; part < parts; part++) {
      this.#signal.throwIfAborted()
      const { data } = await this.#place.connection.rows(
        `SELECT ${SELECT_ROWS} FROM ${this.#place.target.traces} WHERE ${this.#where} AND TenantId = {of:String} AND TraceId = {trace:String} AND cityHash64(EventId) % {parts:UInt32} = {part:UInt32}`,
        { ...this.#params(), of: tenant, trace, parts, part },
        this.#signal,
      )
      const different = await changedBy((batch) => this.#work.redact(batch), data)
      changed += different.length
      if (!this.#request.dryRun && different.length > 0) await this.#pending.add(different, this.#signal)
    }
    if (!this.#request.dryRun && changed > 0) await this.#work.changed(tenant, trace)
    return changed
  }

  async #flush(at: Checkpoint): Promise<void> {
    if (this.#pending.rows === 0) return
    const replacement = this.#pending
    this.#pending = new Replacement(this.#place)
    await replacement.complete()
    await this.#save({ ...at, staged: replacement.name })
    await this.#finish(replacement, at)
  }

  async #finish(replacement: Replacement, { staged: _staged, ...at }: Checkpoint): Promise<void> {
    await replacement.apply(() => this.#save(this.#at))
    // First: what is left of it would be put in place again, over what has changed since.
    await replacement.remove()
    await this.#save(at)
  }

  async #save(at: Checkpoint): Promise<void> {
    this.#at = at
    await this.#work.save(at)
  }

  async #total(): Promise<number> {
    const sql = `SELECT toString(count()) FROM ${this.#place.target.traces} WHERE ${this.#where}`
    const { data } = await this.#place.connection.rows(sql, this.#params(), this.#signal)
    return Number(data[0]?.[0])
  }

  async #page([tenant, trace]: Checkpoint['after']): Promise<readonly RunRow[]> {
    const { data } = await this.#place.connection.rows(
      `SELECT TenantId, TraceId, toString(count()), toString(sum(byteSize(SpanAttributes, Events.Attributes, ResourceAttributes))) FROM ${this.#place.target.traces} ` +
        `WHERE ${this.#where} AND (TenantId, TraceId) > ({afterTenant:String}, {afterTrace:String}) ` +
        `GROUP BY TenantId, TraceId ORDER BY TenantId, TraceId LIMIT ${PAGE}`,
      { ...this.#params(), afterTenant: tenant, afterTrace: trace },
      this.#signal,
    )
    return data.map(([of, id, rows, bytes]) => ({
      tenant: String(of),
      trace: String(id),
      rows: Number(rows),
      bytes: Number(bytes),
    }))
  }

  #params() {
    const { fromMs, toMs, tenant, run } = this.#request
    return {
      from: fromMs,
      to: toMs,
      ...(tenant !== undefined && { tenant }),
      ...(run !== undefined && { run, hex: traceOf(run, tenant) }),
    }
  }
}

/** Spans that others added to the run's trace need not know the run. */
function traceOf(run: string, tenant?: string): string {
  return tenant === undefined ? run.replaceAll('-', '').toLowerCase() : traceIdOf(tenant, run).toString('hex')
}
