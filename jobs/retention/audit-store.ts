import type { Audit } from '../../pipeline/audit/audit.ts'
import { trimAudit } from '../../pipeline/audit/trim.ts'
import type { Cutoffs, Deletion, Overdue, Retainable } from '../../pipeline/retention.ts'
import type { StateStore } from '../../pipeline/state/state.ts'

/** Of no tenant. */
const NOBODY = ''

/** The audit log: whole ended segments, of which an entry in it says so. */
export class AuditRetention implements Retainable {
  readonly store = 'audit'
  readonly kind = 'audit'
  readonly #state: StateStore
  readonly #audit: Audit
  readonly #job: string

  constructor(state: StateStore, audit: Audit, job: string) {
    this.#state = state
    this.#audit = audit
    this.#job = job
  }

  async survey(cutoffs: Cutoffs): Promise<readonly Overdue[]> {
    return this.#trim(cutoffs, true)
  }

  async *expire(cutoffs: Cutoffs): AsyncGenerator<Deletion> {
    for (const overdue of await this.#trim(cutoffs, false)) yield { ...overdue, object: 'audit' }
  }

  async #trim(cutoffs: Cutoffs, dryRun: boolean): Promise<readonly Overdue[]> {
    const before = cutoffs.of(NOBODY)
    if (before === -Infinity) return []
    const actor = { id: this.#job, kind: 'job' } as const
    const { entries, until } = await trimAudit(this.#state, this.#audit, before, {
      actor,
      dryRun,
      legalBasis: 'retention_policy',
    })
    return entries === 0
      ? []
      : [{ tenant: undefined, items: entries, unit: 'entries', oldestMs: Date.parse(until) }]
  }
}
