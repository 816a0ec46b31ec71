import { promisify } from 'node:util'
import * as zlib from 'node:zlib'

const gzip = promisify<Uint8Array, zlib.ZlibOptions, Buffer>(zlib.gzip)
/** Node.js 22.15 has it; the types are those of Node.js 20. */
const zstdOf = (
  zlib as { zstdCompress?: (bytes: Uint8Array, done: (e: Error | null, b: Buffer) => void) => void }
).zstdCompress

export const canZstd = zstdOf !== undefined

/** Compresses off the main thread. Throws RangeError for `zstd` where this Node.js has none: check `canZstd`. */
export function compress(bytes: Uint8Array, how: 'gzip' | 'zstd' | 'none'): Promise<Uint8Array> {
  if (how === 'none') return Promise.resolve(bytes)
  if (how === 'gzip') return gzip(bytes, { level: 1 })
  if (zstdOf === undefined) throw new RangeError('this Node.js has no zstd')
  return promisify(zstdOf)(bytes)
}
