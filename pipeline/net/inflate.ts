import * as zlib from 'node:zlib'
import { POOL } from '../../proto/buffer-pool.ts'
import { messageOf, reject } from '../fault.ts'

export type Encoding = 'identity' | 'gzip' | 'deflate' | 'zstd'

/** node:zlib has zstd from 22.15 on; the typings of Node 20 do not know it. */
interface ZstdCapable {
  createZstdDecompress?(options: { params: Record<number, number> }): zlib.Gunzip
  readonly constants: { readonly ZSTD_d_windowLogMax?: number }
}

/** RFC 8878 section 3.1.1.1.2: decoders should take 8 MiB of window and may refuse more. */
const ZSTD_WINDOW_LOG = 23
/** Bodies up to this size are inflated at once: the thread pool's round trip costs more than the work. */
const AT_ONCE = 4096
const native = zlib as unknown as ZstdCapable

const NAMES = new Map<string, Encoding>([
  ['', 'identity'],
  ['identity', 'identity'],
  ['gzip', 'gzip'],
  ['x-gzip', 'gzip'],
  ['deflate', 'deflate'],
  ['zlib', 'deflate'],
  ['zstd', 'zstd'],
])

/** For an Accept-Encoding header of a refusal. */
export const ENCODINGS = `gzip, deflate${native.createZstdDecompress ? ', zstd' : ''}, identity`

/** The encoding of that Content-Encoding or grpc-encoding; undefined when unknown (a list of several is unknown). */
export function encodingOf(header: string | undefined): Encoding | undefined {
  return NAMES.get((header ?? '').trim().toLowerCase())
}

/**
 * Inflates a whole body. `grow` hears of every inflated chunk before it is kept and may throw. Over `limit` bytes:
 * BATCH_TOO_LARGE at the chunk that crosses it, so that a bomb costs no memory.
 *
 * zstd without node:zlib is refused: the pure JavaScript decoder moves its whole window for each block of the input,
 * so a body of 64 KiB in tiny blocks stalls the daemon for seconds.
 */
export async function inflate(
  body: Uint8Array,
  encoding: Exclude<Encoding, 'identity'>,
  limit: number,
  grow: (bytes: number) => void,
): Promise<Uint8Array> {
  if (encoding !== 'zstd' && body.length <= AT_ONCE) return inflateAtOnce(body, encoding, limit, grow)
  const chunks: Buffer[] = []
  let length = 0
  const stream = decoder(encoding)
  try {
    stream.end(body)
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      length += chunk.length
      if (length > limit) throw tooLarge(limit)
      grow(chunk.length)
      chunks.push(chunk)
    }
  } catch (error) {
    throw corrupt(error, encoding)
  }
  return POOL.join(chunks, length)
}

function inflateAtOnce(
  body: Uint8Array,
  encoding: 'gzip' | 'deflate',
  limit: number,
  grow: (bytes: number) => void,
): Uint8Array {
  const options = { maxOutputLength: limit }
  try {
    const inflated = encoding === 'gzip' ? zlib.gunzipSync(body, options) : zlib.inflateSync(body, options)
    grow(inflated.length)
    return inflated
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') throw tooLarge(limit)
    throw corrupt(error, encoding)
  }
}

function decoder(encoding: Exclude<Encoding, 'identity'>) {
  const options = { chunkSize: 65_536 }
  if (encoding === 'gzip') return zlib.createGunzip(options)
  if (encoding === 'deflate') return zlib.createInflate(options)
  if (native.createZstdDecompress === undefined) {
    throw reject('ENCODING_UNSUPPORTED', 'zstd needs Node.js 22.15 or newer on this side; send gzip instead')
  }
  return native.createZstdDecompress({
    ...options,
    params: { [native.constants.ZSTD_d_windowLogMax ?? 0]: ZSTD_WINDOW_LOG },
  })
}

export function tooLarge(limit: number) {
  return reject(
    'BATCH_TOO_LARGE',
    `the request is larger than the limit of ${limit} bytes after decompression`,
  )
}

/** zlib's own errors carry an `errno`; a Fault (and a bug) passes. */
function corrupt(error: unknown, encoding: Encoding): unknown {
  if (typeof (error as { errno?: unknown }).errno !== 'number') return error
  return reject('BATCH_MALFORMED', `the body is not valid ${encoding}: ${messageOf(error)}`, { cause: error })
}
