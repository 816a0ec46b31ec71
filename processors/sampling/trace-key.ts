import { createHash } from 'node:crypto'

/**
 * A tenant's trace: 16 bytes as a string of 8 UTF-16 units, which a Map hashes once and V8 stores in 16 bytes.
 * Trace ids are unique per tenant only, so each tenant's are mixed with a mask of its own; `secret` keeps a tenant from
 * choosing ids that meet another's.
 */
export type TraceKey = string & { readonly __trace: unique symbol }

export class TraceKeys {
  readonly #secret: string
  readonly #masks = new Map<string, Uint16Array>()

  constructor(secret: string) {
    this.#secret = secret
  }

  /** Undefined for an id that is none. */
  of(tenant: string, traceId: Uint8Array): TraceKey | undefined {
    if (traceId.length !== 16) return undefined
    const mask = this.#maskOf(tenant)
    let any = 0
    for (let at = 0; at < 16; at++) any |= traceId[at]!
    if (any === 0) return undefined
    const unit = (at: number) => (traceId[2 * at]! | (traceId[2 * at + 1]! << 8)) ^ mask[at]!
    return String.fromCharCode(
      unit(0),
      unit(1),
      unit(2),
      unit(3),
      unit(4),
      unit(5),
      unit(6),
      unit(7),
    ) as TraceKey
  }

  #maskOf(tenant: string): Uint16Array {
    let mask = this.#masks.get(tenant)
    if (mask === undefined) {
      const hash = createHash('sha256').update(`${this.#secret}\0${tenant}`).digest()
      mask = Uint16Array.from({ length: 8 }, (_, at) => hash.readUInt16LE(2 * at))
      this.#masks.set(tenant, mask)
    }
    return mask
  }
}
