/** gRPC length-prefixed message: one byte of flags (1: compressed), four of length, big-endian. */
const PREFIX_BYTES = 5

/**
 * Takes the messages of a call out of its data, prefix included, as grpc-js wants them. A message's length is reserved
 * when its prefix has come, and its bytes are copied once, to where they stay.
 */
export class GrpcFrames {
  readonly #reserve: (length: number) => boolean
  #frame: Buffer = Buffer.allocUnsafe(PREFIX_BYTES)
  #filled = 0
  #refused = false
  #compressed = false

  /** `reserve` hears of each message's length before its bytes are kept; on false all that follows is dropped. */
  constructor(reserve: (length: number) => boolean) {
    this.#reserve = reserve
  }

  /** Of the newest message. */
  get compressed(): boolean {
    return this.#compressed
  }

  write(data: Buffer): Buffer[] {
    const messages: Buffer[] = []
    for (let at = 0; at < data.length && !this.#refused;) {
      at += this.#fill(data, at)
      if (this.#filled === PREFIX_BYTES && this.#frame.length === PREFIX_BYTES) this.#open()
      if (this.#filled < this.#frame.length || this.#filled < PREFIX_BYTES || this.#refused) continue
      messages.push(this.#frame)
      this.#frame = Buffer.allocUnsafe(PREFIX_BYTES)
      this.#filled = 0
    }
    return messages
  }

  #fill(data: Buffer, at: number): number {
    const copied = data.copy(this.#frame, this.#filled, at)
    this.#filled += copied
    return copied
  }

  /** The prefix is complete. */
  #open(): void {
    const prefix = this.#frame
    const length = prefix.readUInt32BE(1)
    this.#compressed = prefix[0] === 1
    this.#refused = !this.#reserve(length)
    if (this.#refused || length === 0) return
    this.#frame = Buffer.allocUnsafe(PREFIX_BYTES + length)
    prefix.copy(this.#frame)
  }
}
