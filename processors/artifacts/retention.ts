import {
  overdueByTenant,
  take,
  type Cutoffs,
  type Deletion,
  type Overdue,
  type Retainable,
} from '../../pipeline/retention.ts'
import { someAtOnce } from '../../pipeline/some-at-once.ts'
import { FRESH_MS, tenantOf } from './archive.ts'
import type { Place, Resting } from './place.ts'

/** What is deleted before it is told of. */
const CHUNK = 1000
const AT_ONCE = 8

/**
 * Artifacts whose spans are over their time. A span that needs one more than a day after its last put has it put again, so
 * that those that refer to it came at most a day after that.
 */
export class ArtifactRetention implements Retainable {
  readonly store: string
  readonly kind = 'traces'
  readonly #place: Place

  constructor(store: string, place: Place) {
    this.store = store
    this.#place = place
  }

  async survey(cutoffs: Cutoffs, signal: AbortSignal): Promise<readonly Overdue[]> {
    const found: Expired[] = []
    for await (const { tenant, putMs } of this.#expired(cutoffs, signal))
      found.push({ key: '', tenant, putMs })
    return overdueByTenant(found)
  }

  async *expire(cutoffs: Cutoffs, signal: AbortSignal): AsyncGenerator<Deletion> {
    const expired = this.#expired(cutoffs, signal)
    for (;;) {
      const chunk = await take(expired, CHUNK)
      if (chunk.length === 0) return
      await someAtOnce(chunk, AT_ONCE, ({ key }) => this.#place.remove(key, signal))
      for (const each of overdueByTenant(chunk)) yield { ...each, object: `tenant=${each.tenant}` }
    }
  }

  async *#expired(cutoffs: Cutoffs, signal: AbortSignal): AsyncGenerator<Expired> {
    if (cutoffs.latestMs === -Infinity) return
    for await (const { key, putMs } of this.#place.list('tenant=', signal)) {
      const tenant = tenantOf(key)
      if (tenant !== undefined && putMs + FRESH_MS < cutoffs.of(tenant)) yield { key, tenant, putMs }
    }
  }
}

type Expired = Pick<Resting, 'putMs'> & { readonly key: string; readonly tenant: string }
