import type { Standing } from '../../pipeline/admission.ts'
import type { IdentityView } from '../../pipeline/identity/view.ts'
import { Account } from './account.ts'
import type { LimitsConfig, TenantLimits } from './config.ts'
import { limitsOf, projectLimitsOf } from './resolve.ts'

/** Accounts that are remembered; past this many, idle ones are forgotten. */
const MANY = 10_000

/** The accounts of all who have sent. Limits that change (another tier, another record) open a new account. */
export class Accounts {
  readonly #config: LimitsConfig
  readonly #identity: IdentityView
  readonly #known = new Map<string, Account>()
  #tidyAt = MANY

  constructor(config: LimitsConfig, identity: IdentityView) {
    this.#config = config
    this.#identity = identity
  }

  /** The tenant's, and the project's where it has limits of its own. */
  of({ tenant, project }: Pick<Standing, 'tenant' | 'project'>, nowMs: number): readonly Account[] {
    const own = this.#account(tenant, limitsOf(this.#config, this.#identity, tenant), nowMs)
    if (project === '') return [own]
    const limits = projectLimitsOf(this.#config, this.#identity, tenant, project)
    return limits === undefined ? [own] : [own, this.#account(`${tenant}/${project}`, limits, nowMs)]
  }

  #account(id: string, limits: TenantLimits, nowMs: number): Account {
    const known = this.#known.get(id)
    if (known !== undefined && same(known.limits, limits)) return known
    const account = new Account(id, limits, nowMs)
    this.#known.set(id, account)
    if (this.#known.size > this.#tidyAt) this.#tidy(nowMs)
    return account
  }

  #tidy(nowMs: number): void {
    for (const [id, account] of this.#known) if (account.isIdle(nowMs)) this.#known.delete(id)
    this.#tidyAt = Math.max(MANY, this.#known.size * 2)
  }
}

function same(a: TenantLimits, b: TenantLimits): boolean {
  return (Object.keys(a) as (keyof TenantLimits)[]).every((name) => a[name] === b[name])
}
