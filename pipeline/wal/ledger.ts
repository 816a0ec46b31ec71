import type { DropReason } from '../batch/batch.ts'

/** What became of the spans that a cursor has passed: `passed` is the sum of all others, at every advance. */
export interface Ledger {
  readonly passed: number
  readonly stored: number
  readonly sampled: number
  readonly dead_lettered: number
  readonly duplicate: number
  readonly expired: number
  readonly erased: number
  readonly skipped: number
  readonly invalid: number
}

export type LedgerOutcome = Exclude<keyof Ledger, 'passed'>

export const LEDGER_OUTCOMES = [
  'stored',
  'sampled',
  'dead_lettered',
  'duplicate',
  'expired',
  'erased',
  'skipped',
  'invalid',
] as const satisfies readonly LedgerOutcome[]

export const EMPTY_LEDGER: Ledger = Object.freeze({
  passed: 0,
  stored: 0,
  sampled: 0,
  dead_lettered: 0,
  duplicate: 0,
  expired: 0,
  erased: 0,
  skipped: 0,
  invalid: 0,
})

export function addLedger(a: Ledger, b: Partial<Ledger>): Ledger {
  return {
    passed: a.passed + (b.passed ?? 0),
    stored: a.stored + (b.stored ?? 0),
    sampled: a.sampled + (b.sampled ?? 0),
    dead_lettered: a.dead_lettered + (b.dead_lettered ?? 0),
    duplicate: a.duplicate + (b.duplicate ?? 0),
    expired: a.expired + (b.expired ?? 0),
    erased: a.erased + (b.erased ?? 0),
    skipped: a.skipped + (b.skipped ?? 0),
    invalid: a.invalid + (b.invalid ?? 0),
  }
}

/** 0 in a ledger that balances; positive: spans that nobody accounts for. */
export function imbalance(ledger: Ledger): number {
  return LEDGER_OUTCOMES.reduce((left, outcome) => left - ledger[outcome], ledger.passed)
}

/** Drops of a batch as ledger entries. Rows dropped as `rejected` count as invalid unless they become dead letters. */
export function dropsToLedger(drops: ReadonlyMap<DropReason, number>): Ledger {
  const count = (reason: DropReason) => drops.get(reason) ?? 0
  return {
    ...EMPTY_LEDGER,
    sampled: count('sampled'),
    duplicate: count('duplicate'),
    expired: count('expired'),
    erased: count('erased'),
    skipped: count('skipped'),
    invalid: count('invalid') + count('rejected'),
  }
}

/** `after` − `before`, field by field. */
export function subtractLedger(after: Ledger, before: Ledger): Ledger {
  const negated = { passed: -before.passed } as Record<keyof Ledger, number>
  for (const outcome of LEDGER_OUTCOMES) negated[outcome] = -before[outcome]
  return addLedger(after, negated)
}
