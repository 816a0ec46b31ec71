import { hash } from 'node:crypto'

/** First 128 bits of SHA-256 over the parts: what names a batch, a key, a range of a file. */
export function digestOf(...parts: readonly (string | number)[]): Buffer {
  return hash('sha256', parts.join('\0'), 'buffer').subarray(0, 16)
}
