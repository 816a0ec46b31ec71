import { hash } from 'node:crypto'

/** Bytes before the position whose hash proves that a file is the one that was read so far. */
export const TAIL_BYTES = 256

/** The first bytes of a file as they were seen: hashed, since nothing of a line is kept before the sanitizer. */
export interface Fingerprint {
  readonly length: number
  readonly sha256: string
}

export function fingerprintOf(prefix: Uint8Array): Fingerprint {
  return { length: prefix.length, sha256: hash('sha256', prefix, 'hex') }
}

/** True when `prefix` begins with what was seen. */
export function begins(prefix: Uint8Array, { length, sha256 }: Fingerprint): boolean {
  return prefix.length >= length && hash('sha256', prefix.subarray(0, length), 'hex') === sha256
}

/** `begins` for one prefix and many fingerprints: each length is hashed once, so that thousands of files stay quick. */
export function beginner(prefix: Uint8Array): (fingerprint: Fingerprint) => boolean {
  const hashes = new Map<number, string>()
  return ({ length, sha256 }) => {
    if (prefix.length < length) return false
    const found = hashes.get(length) ?? hash('sha256', prefix.subarray(0, length), 'hex')
    hashes.set(length, found)
    return found === sha256
  }
}

/** The hash of up to TAIL_BYTES before `end`; '' at the beginning of a file. */
export function tailOf(bytes: Uint8Array, end: number): string {
  return end === 0 ? '' : hash('sha256', bytes.subarray(Math.max(0, end - TAIL_BYTES), end), 'hex')
}
