import type { Batch } from '../../pipeline/batch/batch.ts'
import { keyId } from '../../pipeline/batch/keys.ts'
import type { Processor } from '../../pipeline/component.ts'
import { isAgreed, isAgreedForSome } from '../../pipeline/consent/in-force.ts'
import type { Context } from '../../pipeline/factory.ts'
import { reject } from '../../pipeline/fault.ts'
import { CACHING } from '../../pipeline/run-replay/cache.ts'
import { requestOf } from '../../pipeline/run-replay/call-of.ts'
import { canonicalRequest } from '../../pipeline/run-replay/request.ts'
import { TenantKeys } from '../../pipeline/run-replay/tenant-keys.ts'
import { batchSpan } from '../../pipeline/runs/batch-span.ts'
import { REPLAY_KEY } from '../../pipeline/runs/recorded.ts'

const KEY = keyId(REPLAY_KEY)

/** Writes the keyed hash of what was asked onto the spans of calls, before redaction, where somebody has agreed to it. */
export class ReplayCache implements Processor {
  readonly #context: Pick<Context, 'id' | 'state' | 'identity' | 'vault'>
  #keys: TenantKeys | undefined

  constructor(context: Pick<Context, 'id' | 'state' | 'identity' | 'vault'>) {
    this.#context = context
  }

  start(): Promise<void> {
    const { id, vault, state } = this.#context
    if (vault === undefined) {
      throw reject(
        'START_FAILED',
        `${id}: answers are kept sealed, which takes the master_key of the state extension (openssl rand -base64 32)`,
      )
    }
    this.#keys = new TenantKeys(state, vault)
    return Promise.resolve()
  }

  /** Without a consent no span has a key, whoever wrote it. Rejects with STATE_UNAVAILABLE (retry) when a key cannot be read now. */
  process(batch: Batch): void | Promise<void> {
    const { tenant, receivedAtMs } = batch.meta
    if (isAgreedForSome(this.#context.identity, tenant, CACHING, receivedAtMs)) return this.#mark(batch)
    for (let row = 0; row < batch.rows; row++) batch.remove(row, KEY)
  }

  async #mark(batch: Batch): Promise<void> {
    const { tenant, receivedAtMs } = batch.meta
    const key = await this.#keys?.of(tenant)
    if (key === undefined)
      throw reject('START_FAILED', `${this.#context.id}: process was called before start`)
    for (let row = 0; row < batch.rows; row++) {
      if (!batch.isLive(row)) continue
      const trace = Buffer.from(batch.traceId(row)).toString('hex')
      const asked = { tenant, type: CACHING, trace } as const
      const request = isAgreed(this.#context.identity, asked, receivedAtMs)
        ? requestOf(batchSpan(batch, row))
        : undefined
      // What a sender wrote there is not ours, nor a second one behind it.
      batch.remove(row, KEY)
      if (request !== undefined) batch.set(row, KEY, key.hash(canonicalRequest(request)))
    }
  }
}
