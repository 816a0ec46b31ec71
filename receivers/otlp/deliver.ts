import { hash } from 'node:crypto'
import type { Entry } from '../../pipeline/admission.ts'
import { ACCEPTED, type Outcome } from '../../pipeline/consumer.ts'
import type { Context } from '../../pipeline/factory.ts'
import { SHORT_DIGEST_BYTES, shortDigest } from '../../pipeline/digest.ts'
import { decodeBatch, decodeJsonBatch } from '../../pipeline/batch/otlp-batch.ts'
import type { Encoding } from '../../pipeline/net/inflate.ts'
import type { Passage } from '../../pipeline/net/passage.ts'

/** A request body as it came off the wire. */
export interface Body {
  readonly bytes: Uint8Array
  readonly encoding: Encoding
  readonly format: 'protobuf' | 'json'
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

  async deliver(passage: Passage, body: Body, signal: AbortSignal): Promise<Outcome> {
    const { tenant, project, principal, wantsDigest } = passage.admitted
    const key = passage.head.header('idempotency-key')[0]
    const receivedAtMs = this.#context.clock()
    const sha256 = wantsDigest ? hash('sha256', body.bytes, 'buffer') : undefined
    if (sha256) await passage.admitted.verify(sha256)
    const ofBody = () => sha256?.subarray(0, SHORT_DIGEST_BYTES) ?? shortDigest(body.bytes)
    const meta = {
      signal: 'traces' as const,
      tenant,
      project,
      principal,
      source: this.#source,
      receivedAtMs,
      digest: key ? shortDigest(`${tenant}\0${key}`) : ofBody(),
    }
    const inflated = passage.inflated(body.bytes, body.encoding, this.#limit)
    const bytes = inflated instanceof Promise ? await inflated : inflated
    const batch = body.format === 'json' ? decodeJsonBatch(bytes, meta) : decodeBatch(bytes, meta)
    // Empty requests succeed and do not reach the pipeline (OTLP specification, "Full Success").
    return batch.rows === 0 ? ACCEPTED : await this.#next.consume(batch, signal)
  }
}
