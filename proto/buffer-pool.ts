/** Bytes; smaller memory is not worth keeping. */
export const LEAST = 32 * 1024
/** Sizes to an octave: what is taken is up to an eighth larger than what was asked for. */
const STEPS = 8
const SWEEP_MS = 10_000
/** Two ranges of 64 MiB: senders choose the sizes, and each size would keep its own peak. */
const MOST_IDLE = 128 << 20

/**
 * Memory for what is large and short of life: requests, messages of the log, their tables and facts. V8 keeps such memory outside of its
 * heap, and marks the whole heap for every 64 MiB of it that are new; memory that is used again is not.
 * What is given back is detached: views of it that somebody kept are empty from then on, instead of showing what comes
 * to lie there next. Memory that was not needed for a while is let go.
 */
export class BufferPool {
  readonly #free = new Map<number, Shelf>()
  readonly #lent = new WeakSet<ArrayBufferLike>()
  #idleBytes = 0
  #mostIdle = MOST_IDLE
  #sweeping: NodeJS.Timeout | undefined

  /** So many bytes, with anything in them. */
  bytes(length: number): Buffer {
    return length < LEAST ? Buffer.allocUnsafe(length) : Buffer.from(this.take(length), 0, length)
  }

  /** Chunks of `length` bytes together, one after another; a single one as it is. */
  join(chunks: readonly Buffer[], length: number): Buffer {
    const [only] = chunks
    if (chunks.length === 1 && only !== undefined) return only
    const whole = this.bytes(length)
    let at = 0
    for (const chunk of chunks) at += chunk.copy(whole, at)
    return whole
  }

  /** At least `bytes` of memory, with anything in it. */
  take(bytes: number): ArrayBuffer {
    if (bytes < LEAST) return new ArrayBuffer(bytes)
    const size = sizeFor(bytes)
    const used = this.#free.get(size)?.take()
    if (used !== undefined) this.#idleBytes -= size
    const buffer = used ?? new ArrayBuffer(size)
    this.#lent.add(buffer)
    return buffer
  }

  /** Ends all views of it, and keeps it where there is room. What was not taken from here, or was given back before, stays as it is. */
  give(buffer: ArrayBufferLike): void {
    if (!this.#lent.delete(buffer)) return
    const size = buffer.byteLength
    const own = structuredClone(buffer, { transfer: [buffer as ArrayBuffer] }) as ArrayBuffer
    if (this.#idleBytes + size > this.#mostIdle) return
    let shelf = this.#free.get(size)
    if (shelf === undefined) this.#free.set(size, (shelf = new Shelf()))
    shelf.put(own)
    this.#idleBytes += size
    this.#sweeping ??= setInterval(() => this.sweep(), SWEEP_MS).unref()
  }

  /** Lets go of what was not needed since the last time. */
  sweep(): void {
    this.#idleBytes = 0
    for (const [size, shelf] of this.#free) {
      const left = shelf.sweep()
      if (left === 0) this.#free.delete(size)
      this.#idleBytes += left * size
    }
    if (this.#free.size > 0) return
    clearInterval(this.#sweeping)
    this.#sweeping = undefined
  }

  /** What is given back above `bytes` is let go at once. */
  keepAtMost(bytes: number): void {
    this.#mostIdle = bytes
  }

  /** Most that it keeps. */
  get mostIdleBytes(): number {
    return this.#mostIdle
  }

  /** Bytes that wait to be taken. */
  get idleBytes(): number {
    return this.#idleBytes
  }
}

/** Free memory of one size. */
class Shelf {
  readonly #buffers: ArrayBuffer[] = []
  /** Fewest that there were since the last sweep. */
  #least = 0

  take(): ArrayBuffer | undefined {
    const buffer = this.#buffers.pop()
    this.#least = Math.min(this.#least, this.#buffers.length)
    return buffer
  }

  put(buffer: ArrayBuffer): void {
    this.#buffers.push(buffer)
  }

  /** How many are left. */
  sweep(): number {
    this.#buffers.splice(0, this.#least)
    this.#least = this.#buffers.length
    return this.#least
  }
}

function sizeFor(bytes: number): number {
  const step = 2 ** Math.floor(Math.log2(bytes)) / STEPS
  return Math.ceil(bytes / step) * step
}

/** Of this process. */
export const POOL = new BufferPool()
