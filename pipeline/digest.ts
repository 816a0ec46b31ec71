import { hash } from 'node:crypto'

export const SHORT_DIGEST_BYTES = 16

/** First 128 bits of SHA-256 over the parts: what names a batch, a key, a range of a file. */
export function digestOf(...parts: readonly (string | number)[]): Buffer {
  return shortDigest(parts.join('\0'))
}

/** First 128 bits of SHA-256. As a string on the way: a digest in memory of its own takes twice as long for a small request (measured). */
export function shortDigest(data: string | Uint8Array): Buffer {
  const digest = Buffer.allocUnsafe(SHORT_DIGEST_BYTES)
  digest.write(hash('sha256', data, 'binary'), 'binary')
  return digest
}
