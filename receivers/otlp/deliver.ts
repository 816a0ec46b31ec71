import { hash } from 'node:crypto'
import type { Entry } from '../../pipeline/admission.ts'
import type { BatchMeta } from '../../pipeline/batch/batch.ts'
import { ACCEPTED, type Outcome } from '../../pipeline/consumer.ts'
import type { Context } from '../../pipeline/factory.ts'
import { SHORT_DIGEST_BYTES, shortDigest } from '../../pipeline/digest.ts'
import { decodeBatch, decodeJsonBatch } from '../../pipeline/batch/otlp-batch.ts'
import type { Encoding } from '../../pipeline/net/inflate.ts'
import type { Passage } from '../../pipeline/net/passage.ts'
import type { Format } from './reply.ts'

/** A request body as it came off the wire. */
export interface Body {
  readonly bytes: Uint8Array
  readonly encoding: Encoding
  readonly format: Format
}

/** From the whole body to the pipeline's answer. */
export class Delivery {
  readonly #context: Context
  readonly #next: Entry
  readonly #source: string
  readonly #limit: number

  constructor(context: Context, next: Entry, transport: 'grpc' | 'http', limit: number) {
    this.#context = context
    this.#next = next
    this.#source = `${context.id}/${transport}`
    this.#limit = limit
  }

  /**
   * Throws or rejects with what the request is refused for. Where nothing must be waited for first it goes to the pipeline
   * at once: a wait is much of what a small request costs.
   */
  deliver(passage: Passage, body: Body, signal: AbortSignal): Promise<Outcome> {
    const { admitted } = passage
    if (admitted.wantsDigest || body.encoding !== 'identity') return this.#checked(passage, body, signal)
    return this.#consume(body.bytes, body.format, this.#meta(passage, body), signal)
  }

  async #checked(passage: Passage, body: Body, signal: AbortSignal): Promise<Outcome> {
    const sha256 = passage.admitted.wantsDigest ? hash('sha256', body.bytes, 'buffer') : undefined
    const meta = this.#meta(passage, body, sha256)
    if (sha256) await passage.admitted.verify(sha256)
    const bytes = await passage.inflated(body.bytes, body.encoding, this.#limit)
    return this.#consume(bytes, body.format, meta, signal)
  }

  #meta(passage: Passage, { bytes }: Body, sha256?: Buffer): BatchMeta {
    const { tenant, project, principal } = passage.admitted
    const key = passage.head.header('idempotency-key')[0]
    return {
      signal: 'traces',
      tenant,
      project,
      principal,
      source: this.#source,
      receivedAtMs: this.#context.clock(),
      digest: key
        ? shortDigest(`${tenant}\0${key}`)
        : (sha256?.subarray(0, SHORT_DIGEST_BYTES) ?? shortDigest(bytes)),
    }
  }

  #consume(bytes: Uint8Array, format: Format, meta: BatchMeta, signal: AbortSignal): Promise<Outcome> {
    const batch = format === 'json' ? decodeJsonBatch(bytes, meta) : decodeBatch(bytes, meta)
    // Empty requests succeed and do not reach the pipeline (OTLP specification, "Full Success").
    return batch.rows === 0 ? Promise.resolve(ACCEPTED) : this.#next.consume(batch, signal)
  }
}
