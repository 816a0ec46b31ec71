import type { Admission, Head, Standing } from '../../pipeline/admission.ts'
import type { Batch } from '../../pipeline/batch/batch.ts'
import type { Processor } from '../../pipeline/component.ts'
import { rejectedCount, type Outcome, type Rejection } from '../../pipeline/consumer.ts'
import { reject, type Fault } from '../../pipeline/fault.ts'
import type { Context } from '../../pipeline/factory.ts'
import type { Account, Amount } from './account.ts'
import { accountRefusal, inFlightRefusal } from './account-limits.ts'
import { Accounts } from './accounts.ts'
import type { LimitsConfig } from './config.ts'
import { daemonRefusal, sheds, type DaemonFacts } from './daemon-limits.ts'
import { MemoryGuard } from './memory.ts'
import { Refusals } from './refusals.ts'
import { SpanRules } from './spans.ts'

/** A request is held as it was sent, and inflated. */
const FORMS = 2

/** What a batch was charged, and how many spans of it were rejected before or here. */
interface Charge {
  readonly amount: Amount
  readonly rejected: number
}

/**
 * Refuses what is too much: requests by their head (`admit`) and while they are read (`hold`), single spans once they
 * are parsed (`process`). Rates and quotas are reserved by estimate when a request is let in, charged in `process` with
 * what it was, and given back in `settle` when it was not taken after all.
 */
export class LimitsProcessor implements Processor {
  readonly #context: Context
  readonly #facts: DaemonFacts
  readonly #accounts: Accounts
  readonly #rules: SpanRules
  readonly #refusals: Refusals
  readonly #memory: MemoryGuard
  readonly #charged = new WeakMap<Batch, Charge>()

  constructor(config: LimitsConfig, context: Context) {
    const { intake, pressure } = context
    this.#context = context
    this.#memory = new MemoryGuard(config, context.log)
    this.#facts = { config, intake, pressure, memory: this.#memory }
    this.#accounts = new Accounts(config, context.identity)
    this.#rules = new SpanRules(config.span)
    this.#refusals = new Refusals(config, context.meter)
  }

  async start(): Promise<void> {
    this.#memory.start()
    await this.#context.usage.follow()
  }

  async stop(): Promise<void> {
    this.#memory.stop()
    this.#refusals.stop()
  }

  admit({ declaredBytes }: Head, sender: Standing): Admission | Promise<never> {
    const { tenant } = sender
    const nowMs = this.#context.clock()
    const bytes = declaredBytes ?? 0
    const refusal = daemonRefusal(this.#facts, tenant, bytes, nowMs)
    if (refusal !== undefined) throw this.#refusals.fault(refusal, tenant)
    const accounts = this.#accounts.of(sender, nowMs)
    for (const account of accounts) {
      if (bytes > account.limits.request_bytes) throw this.#tooLarge(account, tenant)
      const own = accountRefusal(account, bytes, nowMs, this.#context.usage)
      if (own !== undefined) return this.#refusals.later(this.#refusals.fault(own, tenant))
    }
    return this.#admitted(accounts, tenant, declaredBytes)
  }

  #admitted(accounts: readonly Account[], tenant: string, declaredBytes: number | undefined): Admission {
    const open = accounts.map((account) => ({ account, estimate: account.open(declaredBytes), held: 0 }))
    let all = 0
    return {
      hold: (bytes) => {
        all += bytes
        const refusal = sheds(this.#facts, all)
        if (refusal !== undefined) throw this.#refusals.fault(refusal, tenant)
        for (const one of open) {
          const { account, held } = one
          if (all > FORMS * account.limits.request_bytes) throw this.#tooLarge(account, tenant)
          if (!account.hold(bytes, held)) throw this.#refusals.fault(inFlightRefusal(account), tenant)
          one.held += bytes
        }
      },
      release: () => {
        for (const { account, estimate, held } of open) account.close(estimate, held)
      },
    }
  }

  process(batch: Batch): Outcome | void {
    const { tenant } = batch.meta
    const accounts = this.#accountsOf(batch)
    const bytes = batch.encode().length
    for (const account of accounts) {
      if (bytes > account.limits.request_bytes) throw this.#tooLarge(account, tenant)
    }
    const before = batch.drops().get('rejected') ?? 0
    const rejected = this.#check(batch)
    const own = rejectedCount({ rejected })
    const amount = { spans: batch.live - own, bytes }
    for (const account of accounts) account.charge(amount)
    this.#charged.set(batch, { amount, rejected: before + own })
    if (rejected.length > 0) return { rejected }
  }

  settle(batch: Batch, outcome: Outcome | undefined): void {
    const charge = this.#charged.get(batch)
    if (charge === undefined) return
    this.#charged.delete(batch)
    for (const account of this.#accountsOf(batch)) {
      // Nothing live: all of it was rejected or dropped on the way.
      if (outcome === undefined || batch.live === 0) account.refund(charge.amount)
      else this.#use(account, batch, charge.amount.spans + charge.rejected - rejectedCount(outcome))
    }
  }

  #use({ id }: Account, { meta }: Batch, spans: number): void {
    if (spans > 0) this.#context.usage.add(id, meta.receivedAtMs, { spans })
  }

  /** The clock of what is done with a batch is the batch's (design law 5). */
  #accountsOf({ meta }: Batch): readonly Account[] {
    return this.#accounts.of(meta, meta.receivedAtMs)
  }

  #check(batch: Batch): readonly Rejection[] {
    const rows = new Map<string, number[]>()
    for (const [row, { rule, reason }] of this.#rules.check(batch)) {
      const found = rows.get(reason)
      if (found === undefined) rows.set(reason, [row])
      else found.push(row)
      this.#refusals.countSpans(rule, batch.meta.tenant, 1)
    }
    return Array.from(rows, ([reason, found]) => ({ rows: found, reason }))
  }

  #tooLarge({ id, limits }: Account, tenant: string): Fault {
    this.#refusals.count('request_bytes', tenant)
    return reject(
      'BATCH_TOO_LARGE',
      `a request of ${id} may have ${limits.request_bytes} bytes (request_bytes)`,
    )
  }
}
