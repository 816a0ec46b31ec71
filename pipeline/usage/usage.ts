/** What an account (a tenant, or one of its projects) has used on one day (UTC). */
export interface Spent {
  readonly spans: number
  /** Units of 1e-12 USD. */
  readonly picoUsd: bigint
}

export const NOTHING_SPENT: Spent = Object.freeze({ spans: 0, picoUsd: 0n })

/**
 * Counters per account and day, durable and shared by all daemons and their store processes. What is added is written
 * within about a second, and seen by others about a second after that.
 */
export interface Usage {
  add(account: string, atMs: number, amount: Partial<Spent>): void
  /** What all daemons have written of that day, and this process added. Nothing before `follow` has read the store. */
  of(account: string, atMs: number): Spent
  /** Keeps `of` up to date until the process ends. Resolves once it is; rejects when the store does not answer. */
  follow(): Promise<void>
}

/** For a process that counts nothing. */
export const NO_USAGE: Usage = {
  add: () => undefined,
  of: () => NOTHING_SPENT,
  follow: () => Promise.resolve(),
}

/** `YYYY-MM-DD`, UTC. */
export function dayOf(atMs: number): string {
  return new Date(atMs).toISOString().slice(0, 10)
}

const DAY_MS = 24 * 3_600_000

/** When the day of `atMs` is over. */
export function nextDayMs(atMs: number): number {
  return (Math.floor(atMs / DAY_MS) + 1) * DAY_MS
}

export function plus(a: Spent, b: Partial<Spent>): Spent {
  return { spans: a.spans + (b.spans ?? 0), picoUsd: a.picoUsd + (b.picoUsd ?? 0n) }
}

/** The accounts that pay for what a project sends: its tenant's, and its own. */
export function accountsOf(tenant: string, project: string): readonly string[] {
  return project === '' ? [tenant] : [tenant, `${tenant}/${project}`]
}
