import { hostname } from 'node:os'
import { resolve } from 'node:path'
import type { AuditCopy } from '../../pipeline/audit/copier.ts'
import { anyOf } from '../../pipeline/any-of.ts'
import type { Batch } from '../../pipeline/batch/batch.ts'
import type {
  Batching,
  Claim,
  Delivery,
  DeliveryOutcome,
  Exporter,
  Queryable,
  Recheck,
} from '../../pipeline/component.ts'
import { ACCEPTED, type Outcome } from '../../pipeline/consumer.ts'
import type { Context } from '../../pipeline/factory.ts'
import { faultOf, messageOf, retry } from '../../pipeline/fault.ts'
import { orGivenUp } from '../../pipeline/given-up.ts'
import type { ReplaySink } from '../../pipeline/replay.ts'
import type { Redactable, RedactCount, RedactRequest, RedactWork } from '../../pipeline/redact.ts'
import type { Retainable } from '../../pipeline/retention.ts'
import type { Reprice, Repriceable, RepriceRequest, RepriceResult } from '../../pipeline/reprice.ts'
import { ClickHouseAuditCopy } from './audit-copy.ts'
import { isEmbedded, type Config } from './config.ts'
import type { Connection } from './connection.ts'
import { openEmbedded } from './embedded.ts'
import { dropExpired, hasExpired } from './expired.ts'
import { Failover } from './failover.ts'
import { Inserts } from './inserts.ts'
import { userQuery } from './query.ts'
import { hasAbandoned, putBackAbandoned, UNFENCED } from './redact/abandoned.ts'
import { redactTable } from './redact/redact.ts'
import { repriceTable } from './reprice/reprice.ts'
import { prepare } from './schema.ts'
import { ClickHouseReplay } from './replay/replay.ts'
import { ClickHouseRetention } from './retention/retention.ts'
import { openServer } from './server.ts'
import type { StoreKind } from './store-kind.ts'
import { targetOf, type Target } from './target.ts'
import { TableTurns } from './turns.ts'

/** Somebody waits for the answer; but a lease of one that was killed takes 6 s to end. */
const REPRICE_WAIT_MS = 10_000

export class ClickHouseExporter implements Exporter {
  readonly batching: Batching
  /** Blocks and files have bytes of their own. What was given up goes on reading, and is a retry. */
  readonly keepsNothing = true
  readonly queryable: Queryable
  readonly repriceable: Repriceable
  readonly recheck?: Recheck
  readonly redactable: Redactable
  readonly replay: ReplaySink
  readonly retainable: Retainable
  readonly auditCopy: AuditCopy
  readonly #config: Config
  readonly #context: Context
  readonly #target: Target
  #connection: Connection | undefined
  #inserts: Inserts | undefined
  #engine: StoreKind['engine'] = 'MergeTree'
  /** Inserts share one block: one at a time. Also where an abandoned one is waited for. */
  #turn: Promise<unknown> = Promise.resolve()
  #isSynced = false
  #same = ''
  readonly #turns: TableTurns
  #stopping = new AbortController()

  constructor(config: Config, context: Context) {
    this.#config = config
    this.#context = context
    this.#target = targetOf(config)
    this.#turns = new TableTurns(context.state)
    this.batching = {
      maxSpans: config.batch.max_spans,
      maxBytes: config.batch.max_bytes,
      maxWaitMs: config.batch.max_wait,
    }
    this.queryable = {
      query: (request, signal) => userQuery(this.#open(), this.#target, request, signal),
    }
    // Embedded, the WAL lies on the same disk and is lost with it, or both are synced.
    if (!isEmbedded(config) && config.reconcile > 0) {
      this.recheck = { afterMs: config.reconcile, holds: (claim, signal) => this.#holds(claim, signal) }
    }
    this.redactable = { redact: (request, work, signal) => this.#redact(request, work, signal) }
    this.auditCopy = new ClickHouseAuditCopy(placeOf(config, context.id), () => ({
      connection: this.#open(),
      target: this.#target,
    }))
    this.repriceable = { reprice: (request, price, signal) => this.#reprice(request, price, signal) }
    this.retainable = new ClickHouseRetention(context.id, () => ({
      connection: this.#open(),
      target: this.#target,
      engine: this.#engine,
    }))
    this.replay = new ClickHouseReplay(() => ({
      connection: this.#open(),
      target: this.#target,
      isShared: config.endpoint !== 'embedded',
      oldestMs: config.ttl === 0 ? 0 : context.clock() - config.ttl,
      ending: this.#stopping.signal,
      inTurn: (signal, work) => this.#rewrite('a replay', signal, work),
      insert: (batches, token, signal) =>
        this.#inTurn(signal, (inserts, deadline) => inserts.append(batches, deadline, token)),
    }))
  }

  async start(): Promise<void> {
    if (this.#connection !== undefined) return
    const connection = await connect(this.#config, this.#target, this.#context)
    let kind: StoreKind
    try {
      kind = await prepare(connection, this.#target, this.#config, this.#context.log)
    } catch (error) {
      await connection.close()
      throw (
        faultOf(error) ??
        retry('START_FAILED', `clickhouse: ${messageOf(error)}`, undefined, { cause: error })
      )
    }
    this.#connection = connection
    this.#engine = kind.engine
    this.#same = kind.same
    this.#stopping = new AbortController()
    const { timeout: timeoutMs, settings } = this.#config
    this.#isSynced = kind.syncs
    this.#inserts = new Inserts(connection, this.#target, { timeoutMs, kind, settings })
    void this.#putBack()
  }

  async stop(deadline: AbortSignal): Promise<void> {
    const connection = this.#connection
    this.#connection = undefined
    this.#stopping.abort()
    await orGivenUp(deadline, this.#turn).catch(() => undefined)
    await orGivenUp(deadline, this.#turns.settled).catch(() => undefined)
    this.#inserts = undefined
    await connection?.close()
  }

  async probe(signal: AbortSignal): Promise<void> {
    try {
      await this.#open().rows('SELECT 1', {}, signal)
    } catch (error) {
      throw (
        faultOf(error) ??
        retry('EXPORT_UNAVAILABLE', `clickhouse: ${messageOf(error)}`, undefined, { cause: error })
      )
    }
  }

  /** A pipeline without a WAL: stored when it resolves; what a sender repeats is stored again. */
  async consume(batch: Batch, signal: AbortSignal): Promise<Outcome> {
    await this.#take([batch], signal, (inserts, deadline) => inserts.append([batch], deadline))
    return ACCEPTED
  }

  stage(batches: readonly Batch[]): void {
    // What is dropped as expired is dropped, and counted, by the delivery.
    if (batches.some((batch) => hasExpired(batch, this.#config.ttl))) return
    try {
      this.#inserts?.stage(batches)
    } catch {
      // It throws again when it is delivered, where it can be answered.
    }
  }

  async deliver(delivery: Delivery, signal: AbortSignal): Promise<DeliveryOutcome> {
    const { batches, range } = delivery
    const receipts = await this.#take(batches, signal, (inserts, deadline) =>
      inserts.deliver(batches, range.token, range.attempt > 0, deadline),
    )
    return this.recheck === undefined || this.#isSynced ? { rejected: [] } : { rejected: [], receipts }
  }

  async #holds(claim: Claim, signal: AbortSignal): Promise<boolean> {
    if (this.#inserts === undefined) throw retry('EXPORT_UNAVAILABLE', 'clickhouse: not started')
    return await this.#inserts.holds(claim, signal)
  }

  /** What it leaves undone when the exporter stops is done by the next request. */
  #reprice(request: RepriceRequest, price: Reprice, signal: AbortSignal): Promise<RepriceResult> {
    const work = (turn: AbortSignal): Promise<RepriceResult> =>
      repriceTable({ ...this.#place(), log: this.#context.log }, request, price, turn)
    if (request.dryRun) return work(signal)
    // What is out of the table would come back with the prices of before.
    const whole = async (turn: AbortSignal): Promise<RepriceResult> => {
      await putBackAbandoned({ ...this.#place(), ending: this.#stopping.signal }, UNFENCED)
      return await work(turn)
    }
    return this.#rewrite('a reprice', signal, whole, REPRICE_WAIT_MS)
  }

  /** What it leaves undone is done by the next, or when the exporter starts again. */
  #redact(request: RedactRequest, redacting: RedactWork, signal: AbortSignal): Promise<RedactCount> {
    const work = (turn: AbortSignal): Promise<RedactCount> =>
      redactTable({ ...this.#place(), ending: this.#stopping.signal }, request, redacting, turn)
    return request.dryRun ? work(signal) : this.#rewrite('a redaction', signal, work)
  }

  /** Rows that an interrupted redaction or replay has taken out and not put back. */
  async #putBack(): Promise<void> {
    const ending = this.#stopping.signal
    try {
      if (!(await hasAbandoned({ ...this.#place(), ending }))) return
      await this.#rewrite('what an interrupted rewrite left', ending, () =>
        putBackAbandoned({ ...this.#place(), ending }, UNFENCED),
      )
    } catch (error) {
      if (ending.aborted) return
      const fields = { error: messageOf(error) }
      this.#context.log.warn(fields, 'clickhouse: what an interrupted rewrite left waits for the next one')
    }
  }

  async #rewrite<T>(
    what: string,
    signal: AbortSignal,
    work: (turn: AbortSignal) => Promise<T>,
    waitMs?: number,
  ): Promise<T> {
    this.#open()
    const wanted = { table: this.#same, what, ...(waitMs !== undefined && { waitMs }) }
    const either = anyOf([signal, this.#stopping.signal])
    try {
      return await this.#turns.take(wanted, either.signal, work)
    } finally {
      either.clear()
    }
  }

  #place() {
    return { connection: this.#open(), target: this.#target, isShared: !isEmbedded(this.#config) }
  }

  async #take<T>(
    batches: readonly Batch[],
    signal: AbortSignal,
    insert: (inserts: Inserts, deadline: AbortSignal) => Promise<T>,
  ): Promise<T> {
    this.#open()
    for (const batch of batches) dropExpired(batch, this.#config.ttl)
    return await this.#inTurn(signal, insert)
  }

  async #inTurn<T>(
    signal: AbortSignal,
    insert: (inserts: Inserts, deadline: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const deadline = AbortSignal.any([signal, AbortSignal.timeout(this.#config.timeout)])
    const turn = this.#after(this.#turn, insert, deadline)
    this.#turn = turn.catch(() => undefined)
    return await orGivenUp(deadline, turn, notInTime)
  }

  async #after<T>(
    before: Promise<unknown>,
    insert: (inserts: Inserts, deadline: AbortSignal) => Promise<T>,
    deadline: AbortSignal,
  ): Promise<T> {
    await before
    if (this.#inserts === undefined) throw retry('EXPORT_UNAVAILABLE', 'clickhouse: stopped')
    return await insert(this.#inserts, deadline)
  }

  #open(): Connection {
    if (this.#connection === undefined) throw retry('EXPORT_UNAVAILABLE', 'clickhouse: not started')
    return this.#connection
  }
}

async function connect(config: Config, target: Target, context: Context): Promise<Connection> {
  if (isEmbedded(config)) {
    return await openEmbedded({
      directory: config.directory,
      database: target.database,
      markCacheBytes: config.memory.mark_cache,
      maxMemoryBytes: config.memory.max,
    })
  }
  const open = (url: string) =>
    openServer({
      url,
      username: config.username,
      password: config.password?.reveal() ?? '',
      database: target.database,
      timeoutMs: config.timeout,
      compress: config.compress,
      tls: config.tls,
    })
  if (config.endpoints === undefined) return await open(config.endpoint)
  const nodes = config.endpoints.map(async (url) => [new URL(url).host, await open(url)] as const)
  return new Failover(await Promise.all(nodes), {
    exporter: context.id,
    log: context.log,
    meter: context.meter,
  })
}

/** The statement may go on (an embedded one cannot be interrupted); the next insert waits for it in its turn. */
function notInTime() {
  return retry('EXPORT_UNAVAILABLE', 'clickhouse: the insert did not end in time; it is reconciled next')
}

/** Embedded, each machine has a table of its own; daemons of one config share a server's. */
function placeOf(config: Config, id: string): string {
  return isEmbedded(config) ? `${hostname()} ${resolve(config.directory)}` : id
}
