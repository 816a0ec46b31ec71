import * as crypto from 'node:crypto'

/**
 * What a span is known by, whoever sends it and however often: the first 16 bytes of SHA-256 over
 *
 *     tenant (UTF-8) · 0x00 · trace id (16) · span id (8) · start_time_unix_nano (8, little-endian)
 *
 * An absent id is zeros. In SQL: `substring(SHA256(concat(TenantId, '\0', unhex(TraceId), unhex(SpanId),
 * reinterpretAsFixedString(toUnixTimestamp64Nano(Timestamp)))), 1, 16)`, where both ids are present.
 */
export class EventIds {
  readonly #input: Buffer
  readonly #at: number
  readonly #id = Buffer.alloc(16)

  constructor(tenant: string) {
    const name = Buffer.from(tenant)
    this.#at = name.length + 1
    this.#input = Buffer.alloc(this.#at + 32)
    name.copy(this.#input)
  }

  /** The id's 16 bytes, valid until the next call. An offset of −1 means absent. */
  of(bytes: Uint8Array, traceId: number, spanId: number, start: number): Buffer {
    const at = this.#at
    this.#put(bytes, traceId, 16, at)
    this.#put(bytes, spanId, 8, at + 16)
    this.#put(bytes, start, 8, at + 24)
    // One-shot and as latin-1: a third of the cost of createHash, half of that of a Buffer (measured).
    this.#id.write(crypto.hash('sha256', this.#input, 'binary'), 0, 16, 'latin1')
    return this.#id
  }

  /** The same from a batch: ids of 0 bytes are absent ones. */
  ofSpan(traceId: Uint8Array, spanId: Uint8Array, startNs: bigint): Buffer {
    const at = this.#at
    this.#put(traceId, traceId.length === 16 ? 0 : -1, 16, at)
    this.#put(spanId, spanId.length === 8 ? 0 : -1, 8, at + 16)
    this.#input.writeBigUInt64LE(startNs, at + 24)
    this.#id.write(crypto.hash('sha256', this.#input, 'binary'), 0, 16, 'latin1')
    return this.#id
  }

  #put(bytes: Uint8Array, from: number, size: number, at: number): void {
    const input = this.#input
    if (from < 0) input.fill(0, at, at + size)
    else for (let i = 0; i < size; i++) input[at + i] = bytes[from + i] as number
  }
}
