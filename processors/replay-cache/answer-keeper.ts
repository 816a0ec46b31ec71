import type { Batch } from '../../pipeline/batch/batch.ts'
import { isAgreed, isAgreedForSome } from '../../pipeline/consent/in-force.ts'
import type { Context } from '../../pipeline/factory.ts'
import { messageOf } from '../../pipeline/fault.ts'
import type { FollowedBatch, FollowerTerm, LogWorker } from '../../pipeline/follower.ts'
import { CACHING, forgetConsented, forgetDays } from '../../pipeline/run-replay/cache.ts'
import { dayOf, sealCalls, type CachedCall } from '../../pipeline/run-replay/cache-record.ts'
import { cachedCallOf } from '../../pipeline/run-replay/call-of.ts'
import { TenantKeys } from '../../pipeline/run-replay/tenant-keys.ts'
import { batchSpan } from '../../pipeline/runs/batch-span.ts'
import type { ReplayCacheConfig } from './config.ts'
import { CacheBounds } from './cache-bounds.ts'

const SAVE_MS = 1000
const TIDY_MS = 3_600_000

type Parts = Pick<Context, 'state' | 'identity' | 'vault' | 'log' | 'meter' | 'clock'>

/**
 * Follows the log, and keeps the answers of runs that somebody has agreed to: as they were stored, redacted, sealed for
 * their tenant. A message that is read again is kept again under the same keys.
 */
export class AnswerKeeper implements LogWorker {
  readonly #config: ReplayCacheConfig
  readonly #parts: Parts
  readonly #keys: TenantKeys | undefined
  #bounds: CacheBounds
  #term: FollowerTerm | undefined
  #savedAt = Number.NEGATIVE_INFINITY
  #tidiedMs = 0

  constructor(config: ReplayCacheConfig, parts: Parts) {
    this.#config = config
    this.#parts = parts
    this.#keys = parts.vault === undefined ? undefined : new TenantKeys(parts.state, parts.vault)
    this.#bounds = new CacheBounds(parts.state, config.max_bytes_per_tenant)
  }

  begin(term: FollowerTerm): Promise<void> {
    this.#term = term
    this.#bounds = new CacheBounds(this.#parts.state, this.#config.max_bytes_per_tenant)
    this.#tidiedMs = 0
    return Promise.resolve()
  }

  async take(batches: readonly FollowedBatch[], to: number): Promise<void> {
    for (const followed of batches) await this.#keep(followed)
    await this.#save(to)
  }

  async quiet(to: number): Promise<void> {
    await this.#save(to)
    await this.#tidy()
  }

  async #keep({ batch, seq, walMs }: FollowedBatch): Promise<void> {
    const { identity, state, clock, meter } = this.#parts
    const { tenant } = batch.meta
    const nowMs = clock()
    const expiresMs = walMs + this.#config.expiry
    if (this.#keys === undefined || nowMs >= expiresMs) return
    if (!isAgreedForSome(identity, tenant, CACHING, nowMs)) return
    const runs = callsOf(batch, (trace) => isAgreed(identity, { tenant, type: CACHING, trace }, nowMs))
    if (runs.size === 0) return
    const key = await this.#keys.of(tenant)
    const answers = meter.counter('weir_replay_cached_calls')
    for (const [trace, calls] of runs) {
      const place = { day: dayOf(walMs), tenant, trace, message: `${seq}-${calls[0]?.span}` }
      const { entries, left } = sealCalls(key, place, calls, expiresMs)
      for (const { key: at, value } of entries) {
        await this.#bounds.makeRoom(tenant, place.day, value.length)
        await state.put(at, value)
      }
      answers.add(calls.length - left, { outcome: 'kept' })
      if (left > 0) answers.add(left, { outcome: 'too_large' })
    }
  }

  /** The position is that of the next message: what is kept needs no second reading. */
  async #save(to: number): Promise<void> {
    const term = this.#term
    if (term === undefined || to < term.record().position) return
    const now = performance.now()
    if (now - this.#savedAt < SAVE_MS) return
    this.#savedAt = now
    await this.#bounds.save()
    await term.save({ position: to + 1 })
  }

  /** What is over goes by whole days; until then nobody is answered with it. */
  async #tidy(): Promise<void> {
    const { state, clock, log } = this.#parts
    const nowMs = clock()
    if (nowMs - this.#tidiedMs < TIDY_MS) return
    this.#tidiedMs = nowMs
    try {
      await forgetDays(state, nowMs - this.#config.expiry)
      await this.#forgetEnded(nowMs)
    } catch (error) {
      log.warn({ error: messageOf(error) }, 'Answers that are over could not be deleted yet')
    }
  }

  /** Of consents that have ended since the oldest answer that may be here: by themselves, or while answers were on their way. */
  async #forgetEnded(nowMs: number): Promise<void> {
    const { state, identity } = this.#parts
    const tenants = new Set(['default', ...[...identity.tenants()].map(({ id }) => id)])
    for (const tenant of tenants) {
      const all = identity.consentsOf(tenant)
      for (const each of all) {
        const endedMs = each.revoked_ms ?? each.expires_ms ?? Infinity
        if (endedMs > nowMs || endedMs < nowMs - this.#config.expiry) continue
        await forgetConsented(state, each, all, nowMs)
      }
    }
  }
}

/** By trace. */
function callsOf(batch: Batch, wanted: (trace: string) => boolean): ReadonlyMap<string, CachedCall[]> {
  const runs = new Map<string, CachedCall[]>()
  const verdicts = new Map<string, boolean>()
  for (let row = 0; row < batch.rows; row++) {
    if (!batch.isLive(row) || batch.traceId(row).length === 0) continue
    const trace = Buffer.from(batch.traceId(row)).toString('hex')
    const isWanted = verdicts.get(trace) ?? wanted(trace)
    verdicts.set(trace, isWanted)
    const call = isWanted ? cachedCallOf(batchSpan(batch, row)) : undefined
    if (call !== undefined) runs.set(trace, [...(runs.get(trace) ?? []), call])
  }
  return runs
}
