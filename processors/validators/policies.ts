import type { Threshold, ValidatorsConfig } from './config.ts'
import { SEVERITIES, type Severity, type Validator, type LoadedValidator } from './validator.ts'

export interface Judge {
  readonly name: string
  readonly validator: Validator
}

/** What one tenant is judged by. */
export interface Policy {
  /** Index into SEVERITIES from which a span is rejected; beyond its end: never. */
  readonly threshold: number
  readonly judges: readonly Judge[]
}

/** From harmless (0) to grave. */
export function rank(severity: Severity): number {
  return SEVERITIES.indexOf(severity)
}

/** The policies of a config: tenants without a block of their own share one. */
export class Policies {
  readonly #common: Policy
  readonly #own = new Map<string, Policy>()

  constructor(config: ValidatorsConfig, factories: readonly LoadedValidator[]) {
    const judges = factories.map((factory) => judgeOf(factory, config[factory.type]))
    this.#common = policy(config.threshold, judges)
    for (const [tenant, own] of Object.entries(config.tenants)) {
      const theirs = factories.map((factory, index) => {
        const block = own[factory.type]
        return block === undefined ? judges[index] : judgeOf(factory, block)
      })
      this.#own.set(tenant, policy(own.threshold ?? config.threshold, theirs))
    }
  }

  of(tenant: string): Policy {
    return this.#own.get(tenant) ?? this.#common
  }

  /** All of them. */
  *each(): Iterable<Policy> {
    yield this.#common
    yield* this.#own.values()
  }
}

function policy(threshold: Threshold, judges: readonly (Judge | undefined)[]): Policy {
  return {
    threshold: threshold === 'NONE' ? SEVERITIES.length : rank(threshold),
    judges: judges.filter((judge) => judge !== undefined),
  }
}

/** Undefined for one that is not enabled. `block`: as the config's schema gives it. */
function judgeOf(factory: LoadedValidator, block: unknown): Judge | undefined {
  const { enabled, ...config } = block as { readonly enabled: boolean }
  return enabled ? { name: factory.type, validator: factory.create(config) } : undefined
}
