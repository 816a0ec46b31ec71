/** Where artifacts rest: a bucket or a directory. Faults: EXPORT_UNAVAILABLE (retry). */
export interface Place {
  start(): Promise<void>
  stop(): void
  probe(signal: AbortSignal): Promise<void>
  /** Undefined: nothing has that key. */
  find(key: string, signal: AbortSignal): Promise<Resting | undefined>
  /** Replaces what has that key; resolves once it is durable. */
  put(key: string, body: Uint8Array, mediaType: string, signal: AbortSignal): Promise<void>
  get(key: string, signal: AbortSignal): Promise<Stored | undefined>
  /** Whatever has a key that begins so, in any order; `prefix` ends within the first part of the key. */
  list(prefix: string, signal: AbortSignal): AsyncGenerator<Resting & { readonly key: string }>
  /** No error when it is not there. */
  remove(key: string, signal: AbortSignal): Promise<void>
  /** A URL of its own that gives the object; absent: it has none. */
  link?(key: string, filename: string, expiresInS: number): Promise<string>
}

export interface Resting {
  readonly bytes: number
  /** Unix ms, of its last put. */
  readonly putMs: number
}

export interface Stored {
  readonly body: Buffer
  readonly mediaType: string
}

/** More than any value of a span may have: what is larger is none of ours. */
export const LARGEST_BYTES = 128 * 1024 * 1024
