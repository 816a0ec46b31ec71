import { DAY_MS, type Cutoffs } from '../../../pipeline/retention.ts'

/** Rows of one part, tenant and UTC day. */
export interface Group {
  readonly part: string
  readonly tenant: string
  /** Days since 1970. */
  readonly day: number
  readonly rows: number
  readonly oldestMs: number
}

/** What is to be done with one partition. */
export interface Verdict {
  readonly expired: readonly Group[]
  /** All of it is over, whoever's: also what may arrive meanwhile. */
  readonly isWhole: boolean
  /** Parts of which every row is over. */
  readonly parts: readonly string[]
}

/** Partitions first, then parts, and rows only where tenants differ: parts are dropped, rows cost a rewrite of theirs. */
export function judge(groups: readonly Group[], cutoffs: Cutoffs): Verdict {
  const isOver = ({ tenant, day }: Group): boolean => (day + 1) * DAY_MS <= cutoffs.of(tenant)
  const expired = groups.filter(isOver)
  const mixed = new Set(groups.filter((group) => !isOver(group)).map(({ part }) => part))
  const overForAll = Math.min(cutoffs.earliestMs, cutoffs.of(''))
  const isWhole = mixed.size === 0 && groups.every(({ day }) => (day + 1) * DAY_MS <= overForAll)
  const parts = [...new Set(expired.map(({ part }) => part))].filter((part) => !mixed.has(part))
  return { expired, isWhole, parts }
}
