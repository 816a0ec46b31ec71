/**
 * What is kept for how long: the job `retention` knows the policy, the stores know what they hold. Times of a policy are
 * ends of UTC days, so that what a store holds by day goes as a whole, and once.
 */
export type Retained = 'traces' | 'dead_letters' | 'audit' | 'wal'

/** Before when things of a tenant ('': of none) are over their time; starts of UTC days as Unix ms, -Infinity: never. */
export interface Cutoffs {
  of(tenant: string): number
  /** No tenant's is later: what is younger is nobody's to delete. */
  readonly latestMs: number
  /** No tenant's is earlier, also of tenants that nobody knows: what is older and has a tenant is over for all. */
  readonly earliestMs: number
}

/** What is over its time and still there. */
export interface Overdue {
  /** Undefined: of no tenant, or of several that cannot be told apart. */
  readonly tenant: string | undefined
  readonly items: number
  /** `rows`, `objects`, `files`, … */
  readonly unit: string
  /** Of the oldest of them, Unix ms. */
  readonly oldestMs: number
}

/** What was deleted. */
export interface Deletion extends Overdue {
  /** For the audit log: the place in the store, `partition 20260101`. */
  readonly object: string
}

/** A store that deletes what is over its time. What both methods throw is a Fault, and what was yielded before is done. */
export interface Retainable {
  /** As operators know it: the id of the exporter or connector, `audit`, … */
  readonly store: string
  readonly kind: Retained
  /** Not an instant's picture: data come and go meanwhile. */
  survey(cutoffs: Cutoffs, signal: AbortSignal): Promise<readonly Overdue[]>
  /** Deletes what `survey` finds, piece by piece; safe to be called again wherever it was interrupted. */
  expire(cutoffs: Cutoffs, signal: AbortSignal): AsyncIterable<Deletion>
}

/** Sums over objects of one tenant each. */
export function overdueByTenant(
  objects: readonly { readonly tenant: string; readonly putMs: number }[],
): (Overdue & { readonly tenant: string })[] {
  const found = new Map<string, { items: number; oldestMs: number }>()
  for (const { tenant, putMs } of objects) {
    const before = found.get(tenant) ?? { items: 0, oldestMs: Infinity }
    found.set(tenant, { items: before.items + 1, oldestMs: Math.min(before.oldestMs, putMs) })
  }
  return [...found].map(([tenant, sums]) => ({ tenant, unit: 'objects', ...sums }))
}

/** The next `most` of them, or what there is. */
export async function take<T>(items: AsyncGenerator<T>, most: number): Promise<T[]> {
  const taken: T[] = []
  while (taken.length < most) {
    const next = await items.next()
    if (next.done === true) break
    taken.push(next.value)
  }
  return taken
}

export const DAY_MS = 86_400_000

export function dayOf(ms: number): number {
  return Math.floor(ms / DAY_MS)
}
