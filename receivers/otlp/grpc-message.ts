import { POOL } from '../../proto/buffer-pool.ts'

/** gRPC length-prefixed message: one byte of flags, four of length, big-endian. */
const PREFIX_BYTES = 5
/** The only flag there is. */
export const COMPRESSED = 1

export interface Room {
  /** Hears of the message's length before its bytes are kept; on false all that follows is dropped. */
  reserve(length: number): boolean
}

/**
 * The one message of a unary call, taken out of its data. Its length is reserved when its prefix has come, and its bytes
 * are copied once, to where they stay.
 */
export class GrpcMessage {
  readonly #room: Room
  /** Only where the prefix itself came in pieces. */
  #prefix: Buffer | undefined
  #prefixBytes = 0
  #bytes: Buffer | undefined
  #filled = 0
  #dropped = false
  #flags = 0
  #isFollowed = false

  constructor(room: Room) {
    this.#room = room
  }

  /** The prefix's first byte. */
  get flags(): number {
    return this.#flags
  }

  /** Something came, if not all. */
  get isBegun(): boolean {
    return this.#prefixBytes > 0 || this.#bytes !== undefined
  }

  /** Undefined: not whole yet. */
  get whole(): Buffer | undefined {
    return this.#filled === this.#bytes?.length ? this.#bytes : undefined
  }

  /** More came than one message. */
  get isFollowed(): boolean {
    return this.#isFollowed
  }

  push(data: Buffer): void {
    if (this.#dropped) return
    const at = this.#bytes === undefined ? this.#open(data) : 0
    if (this.#bytes === undefined) return
    const copied = data.copy(this.#bytes, this.#filled, at)
    this.#filled += copied
    if (at + copied < data.length) this.#isFollowed = true
  }

  /** Keeps nothing of what came, nor of what still comes. */
  drop(): void {
    this.#dropped = true
    this.#bytes = undefined
  }

  /** How much of the data belongs to the prefix. */
  #open(data: Buffer): number {
    if (this.#prefixBytes === 0 && data.length >= PREFIX_BYTES) {
      this.#begin(data)
      return PREFIX_BYTES
    }
    this.#prefix ??= Buffer.alloc(PREFIX_BYTES)
    const taken = data.copy(this.#prefix, this.#prefixBytes)
    this.#prefixBytes += taken
    if (this.#prefixBytes === PREFIX_BYTES) this.#begin(this.#prefix)
    return taken
  }

  #begin(prefix: Buffer): void {
    const length = prefix.readUInt32BE(1)
    this.#flags = prefix.readUInt8(0)
    if (!this.#room.reserve(length)) this.drop()
    else this.#bytes = POOL.bytes(length)
  }
}
