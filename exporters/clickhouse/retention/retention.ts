import { randomBytes } from 'node:crypto'
import { faultOf, messageOf, reject, retry } from '../../../pipeline/fault.ts'
import {
  DAY_MS,
  type Cutoffs,
  type Deletion,
  type Overdue,
  type Retainable,
} from '../../../pipeline/retention.ts'
import { quoteText } from '../../../proto/clickhouse/native.ts'
import { codeOf } from '../faults.ts'
import { settleMutations, type MutationPlace } from '../mutations.ts'
import type { StoreKind } from '../store-kind.ts'
import { forgetTraceIds } from './trace-ids.ts'
import { judge, type Group, type Verdict } from './judge.ts'

export interface RetentionPlace extends MutationPlace {
  readonly engine: StoreKind['engine']
}

/** In the conditions of our mutations, so that they are found again. */
const MARK = 'weir_retention_'
const TENANTS_PER_STATEMENT = 1000
/** Merges move rows to other parts meanwhile. */
const TRIES = 5
const NO_SUCH_DATA_PART = '232'
const PART_IS_LOCKED = '384'

/** Spans by the start of their time, and then the look-up table of traces. */
export class ClickHouseRetention implements Retainable {
  readonly store: string
  readonly kind = 'traces'
  readonly #open: () => RetentionPlace

  constructor(store: string, open: () => RetentionPlace) {
    this.store = store
    this.#open = open
  }

  async survey(cutoffs: Cutoffs, signal: AbortSignal): Promise<readonly Overdue[]> {
    const { connection, target } = this.#open()
    if (cutoffs.latestMs === -Infinity) return []
    return await asFault(async () => {
      const { data } = await connection.rows(
        `SELECT TenantId, intDiv(toUnixTimestamp64Milli(Timestamp), ${DAY_MS}) AS Day, count(), toUnixTimestamp64Milli(min(Timestamp)) FROM ${target.traces} WHERE Timestamp < fromUnixTimestamp64Milli({latest:Int64}, 'UTC') GROUP BY TenantId, Day`,
        { latest: cutoffs.latestMs },
        signal,
      )
      const groups = data.map(([tenant, day, rows, oldest]) => groupOf(['', tenant, day, rows, oldest]))
      return byTenant(judge(groups, cutoffs).expired)
    })
  }

  async *expire(cutoffs: Cutoffs, signal: AbortSignal): AsyncGenerator<Deletion> {
    const place = this.#open()
    if (cutoffs.latestMs === -Infinity) return
    if (place.engine === 'Distributed') {
      throw reject(
        'EXPORT_REJECTED',
        `${this.store}: a Distributed table deletes nothing: run retention against its shards, or set ttl there`,
      )
    }
    // A run that was killed may have left some.
    await asFault(() => settleMutations(place, MARK, signal))
    let [fromMs, toMs] = [Infinity, -Infinity]
    let partitions = await asFault(() => partitionsOf(place, cutoffs, signal))
    for (let tries = 0; partitions.length > 0 && tries < TRIES; tries++) {
      const mixed = new Map<string, readonly Group[]>()
      for (const partition of partitions) {
        const verdict = await asFault(async () => judge(await groupsOf(place, partition, signal), cutoffs))
        if (verdict.expired.length === 0) continue
        const gone = await asFault(() => dropAll(place, partition, verdict))
        const left = verdict.expired.filter((group) => !gone.includes(group))
        if (left.length > 0) mixed.set(partition, left)
        yield* deletionsOf(partition, gone)
        ;[fromMs, toMs] = spanOf(verdict.expired, fromMs, toMs)
      }
      await asFault(() => rewrite(place, mixed, cutoffs, signal))
      for (const [partition, groups] of mixed) yield* deletionsOf(partition, groups)
      partitions = [...mixed.keys()]
    }
    if (fromMs < toMs) await asFault(() => forgetTraceIds(place, { fromMs, toMs }, signal))
  }
}

function spanOf(groups: readonly Group[], fromMs: number, toMs: number): [fromMs: number, toMs: number] {
  return [
    Math.min(fromMs, ...groups.map(({ oldestMs }) => oldestMs)),
    Math.max(toMs, ...groups.map(({ day }) => (day + 1) * DAY_MS)),
  ]
}

function* deletionsOf(partition: string, groups: readonly Group[]): Generator<Deletion> {
  for (const overdue of byTenant(groups)) yield { ...overdue, object: `partition ${partition}` }
}

async function partitionsOf(
  { connection, target }: RetentionPlace,
  cutoffs: Cutoffs,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const { data } = await connection.rows(
    `SELECT DISTINCT _partition_id FROM ${target.traces} WHERE Timestamp < fromUnixTimestamp64Milli({latest:Int64}, 'UTC') ORDER BY 1`,
    { latest: cutoffs.latestMs },
    signal,
  )
  return data.map(([partition]) => String(partition))
}

/** Returns what is gone. */
async function dropAll(
  { connection, target }: RetentionPlace,
  partition: string,
  verdict: Verdict,
): Promise<readonly Group[]> {
  if (verdict.isWhole) {
    await connection.command(`ALTER TABLE ${target.traces} DROP PARTITION ID ${quoteText(partition)}`)
    return verdict.expired
  }
  const gone: Group[] = []
  for (const part of verdict.parts) {
    try {
      await connection.command(`ALTER TABLE ${target.traces} DROP PART ${quoteText(part)}`)
    } catch (error) {
      // Merged meanwhile: then its rows go with those of the others.
      if (![NO_SUCH_DATA_PART, PART_IS_LOCKED].includes(codeOf(error))) throw error
      continue
    }
    gone.push(...verdict.expired.filter((group) => group.part === part))
  }
  return gone
}

/**
 * Rewrites the parts that hold rows of these groups. One mutation for all partitions: ClickHouse takes each part of the
 * table through every mutation, also those that it does not concern.
 */
async function rewrite(
  place: RetentionPlace,
  mixed: ReadonlyMap<string, readonly Group[]>,
  cutoffs: Cutoffs,
  signal: AbortSignal,
): Promise<void> {
  const { connection, target } = place
  const tenants = [...new Set([...mixed.values()].flat().map(({ tenant }) => tenant))].toSorted()
  for (let at = 0; at < tenants.length; at += TENANTS_PER_STATEMENT) {
    const byCutoff = new Map<number, string[]>()
    for (const tenant of tenants.slice(at, at + TENANTS_PER_STATEMENT)) {
      byCutoff.set(cutoffs.of(tenant), [...(byCutoff.get(cutoffs.of(tenant)) ?? []), quoteText(tenant)])
    }
    const conditions = [...byCutoff].map(
      ([cutoff, names]) =>
        `(Timestamp < fromUnixTimestamp64Milli(${cutoff}, 'UTC') AND TenantId IN (${names.join(', ')}))`,
    )
    const mark = `${MARK}${randomBytes(8).toString('hex')}`
    await connection.command(
      `ALTER TABLE ${target.traces} DELETE WHERE (${conditions.join(' OR ')}) AND notEmpty(${quoteText(mark)}) SETTINGS mutations_sync = 0`,
    )
    await settleMutations(place, mark, signal, [...mixed.keys()])
  }
}

async function groupsOf(
  { connection, target }: RetentionPlace,
  partition: string,
  signal: AbortSignal,
): Promise<readonly Group[]> {
  const { data } = await connection.rows(
    `SELECT _part, TenantId, intDiv(toUnixTimestamp64Milli(Timestamp), ${DAY_MS}) AS Day, count(), toUnixTimestamp64Milli(min(Timestamp)) FROM ${target.traces} WHERE _partition_id = {partition:String} GROUP BY _part, TenantId, Day`,
    { partition },
    signal,
  )
  return data.map(groupOf)
}

function groupOf([part, tenant, day, rows, oldest]: readonly unknown[]): Group {
  return {
    part: String(part),
    tenant: String(tenant),
    day: Number(day),
    rows: Number(rows),
    oldestMs: Number(oldest),
  }
}

function byTenant(groups: readonly Group[]): readonly Overdue[] {
  const found = new Map<string, { items: number; oldestMs: number }>()
  for (const { tenant, rows, oldestMs } of groups) {
    const before = found.get(tenant) ?? { items: 0, oldestMs: Infinity }
    found.set(tenant, { items: before.items + rows, oldestMs: Math.min(before.oldestMs, oldestMs) })
  }
  return [...found]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([tenant, sums]) => ({ tenant, unit: 'rows', ...sums }))
}

async function asFault<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw (
      faultOf(error) ??
      retry('EXPORT_UNAVAILABLE', `clickhouse: retention: ${messageOf(error)}`, undefined, { cause: error })
    )
  }
}
