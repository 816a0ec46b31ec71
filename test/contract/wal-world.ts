import type { Batch } from '../../pipeline/batch/batch.ts'
import type { Batching, Delivery, DeliveryOutcome, Exporter, Processor } from '../../pipeline/component.ts'
import type { Rejection } from '../../pipeline/consumer.ts'
import type { StoreChain } from '../../pipeline/factory.ts'
import { reject, retry } from '../../pipeline/fault.ts'

/** What an exporter's next call does; `ok` when nothing is planned. */
export type Behaviour = 'ok' | 'retry' | 'retry-after-store' | 'hang' | 'hang-after-store'

/**
 * A destination that is exactly-once by token, as ClickHouse is: a known token stores nothing. Spans by name: `bad…`
 * makes it reject the whole delivery, `part…` is rejected by row, `old…` is dropped as expired.
 */
export class ModelStore {
  /** `<tenant>/<name>@<wal seq>.<row>` in the order of storing. */
  readonly rows: string[] = []
  readonly tokens = new Map<string, readonly string[]>()
  readonly deliveries: {
    readonly token: string
    readonly attempt: number
    readonly rows: readonly string[]
  }[] = []
  readonly plan: Behaviour[] = []
  /** Told of every call; a test may wait here. */
  onCall: (rows: readonly string[]) => Promise<void> = async () => {}

  async deliver(
    delivery: Delivery,
    signal: AbortSignal,
    step: () => Promise<void>,
  ): Promise<DeliveryOutcome> {
    await step()
    const { token, attempt } = delivery.range
    for (const batch of delivery.batches) dropExpired(batch)
    const rejected = delivery.batches.flatMap((batch, index) =>
      partial(batch).map((rejection) => ({ batch: index, rejection })),
    )
    const rows = delivery.batches.flatMap(rowsOf)
    this.deliveries.push({ token, attempt, rows })
    await this.onCall(rows)
    await this.#take(token, rows, signal)
    await step()
    return { rejected }
  }

  async consume(batch: Batch, signal: AbortSignal, step: () => Promise<void>) {
    await step()
    dropExpired(batch)
    const rows = rowsOf(batch)
    this.deliveries.push({ token: '', attempt: 0, rows })
    await this.#take(undefined, rows, signal)
    await step()
    return { rejected: partial(batch) }
  }

  async #take(token: string | undefined, rows: readonly string[], signal: AbortSignal): Promise<void> {
    const behaviour = this.plan.shift() ?? 'ok'
    if (behaviour === 'retry') throw retry('EXPORT_UNAVAILABLE', 'planned')
    if (behaviour === 'hang') await hang(signal)
    if (rows.some((row) => row.includes('/bad'))) throw reject('EXPORT_REJECTED', 'a bad span')
    this.#store(
      token,
      rows.filter((row) => !row.includes('/part')),
    )
    if (behaviour === 'retry-after-store') throw retry('EXPORT_UNAVAILABLE', 'planned, after it was stored')
    if (behaviour === 'hang-after-store') await hang(signal)
  }

  #store(token: string | undefined, rows: readonly string[]): void {
    const known = token === undefined ? undefined : this.tokens.get(token)
    if (known !== undefined) {
      // What ClickHouse would not notice: a token that comes back with other rows loses them.
      if (known.join() !== rows.join()) throw new Error(`token ${token} came back with other rows`)
      return
    }
    if (token !== undefined) this.tokens.set(token, rows)
    this.rows.push(...rows)
  }
}

function hang(signal: AbortSignal): Promise<never> {
  return new Promise((_, refuse) => {
    const abort = () => refuse(retry('EXPORT_UNAVAILABLE', 'hung until the deadline'))
    signal.addEventListener('abort', abort)
    if (signal.aborted) abort()
  })
}

export function rowsOf(batch: Batch): string[] {
  const rows: string[] = []
  const { tenant, wal } = batch.meta
  for (let row = 0; row < batch.rows; row++) {
    if (batch.isLive(row)) rows.push(`${tenant}/${batch.name(row)}@${wal?.seq}.${(wal?.row ?? 0) + row}`)
  }
  return rows
}

/** `a/ok1@7.2` → `a/ok1`. */
export function spanOf(row: string): string {
  return row.slice(0, row.lastIndexOf('@'))
}

function partial(batch: Batch): Rejection[] {
  const rows = namedRows(batch, 'part')
  return rows.length === 0 ? [] : [{ rows, reason: 'partly rejected' }]
}

function dropExpired(batch: Batch): void {
  for (const row of namedRows(batch, 'old')) batch.drop(row, 'expired')
}

function namedRows(batch: Batch, prefix: string): number[] {
  const rows: number[] = []
  for (let row = 0; row < batch.rows; row++) {
    if (batch.isLive(row) && batch.name(row).startsWith(prefix)) rows.push(row)
  }
  return rows
}

/** Samples out `drop…`, rejects `inv…`. */
export const modelProcess: Processor['process'] = (batch) => {
  for (const row of namedRows(batch, 'drop')) batch.drop(row, 'sampled')
  const rows = namedRows(batch, 'inv')
  return rows.length === 0 ? undefined : { rejected: [{ rows, reason: 'model: invalid' }] }
}

export interface ChainOptions {
  readonly store: ModelStore
  /** Called before and after every effect; never resolving is the death of the process. */
  readonly step?: () => Promise<void>
  readonly batching?: Batching
  readonly each?: boolean
  readonly exporterId?: string
  readonly process?: StoreChain['process']
  readonly keepsNothing?: true
}

export function modelChain({
  store,
  step = async () => {},
  batching,
  each,
  exporterId = 'model',
  process = modelProcess,
  keepsNothing,
}: ChainOptions): StoreChain {
  const exporter: Exporter = {
    ...(batching === undefined ? {} : { batching }),
    ...(keepsNothing === undefined ? {} : { keepsNothing }),
    consume: (batch, signal) => store.consume(batch, signal, step),
    ...(each === true ? {} : { deliver: (delivery, signal) => store.deliver(delivery, signal, step) }),
  }
  return {
    cursor: `traces/store/${exporterId}`,
    pipeline: 'traces/store',
    exporterId,
    process,
    exporter,
    first: true,
  }
}
