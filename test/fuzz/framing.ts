import { gzipSync } from 'node:zlib'
import { faultOf } from '../../pipeline/fault.ts'
import { inflate } from '../../pipeline/net/inflate.ts'
import { GrpcMessage } from '../../receivers/otlp/grpc-message.ts'
import { sampled } from './otlp.ts'
import type { Target } from './target.ts'

const LIMIT = 64 * 1024

/** Compressed bodies, small (at once) and large (streamed), and a bomb: never more than the limit, and no other error. */
export const gzip: Target = {
  name: 'gzip',
  seeds(seed) {
    const bodies = sampled(seed, 50)
    const large = Buffer.concat(Array.from({ length: 40 }, (_, n) => Buffer.from(bodies[n % bodies.length]!)))
    return [
      ...bodies.map((body) => gzipSync(body)),
      gzipSync(large, { level: 0 }),
      gzipSync(Buffer.alloc(1 << 20)),
    ]
  },
  async run(input, random) {
    let grown = 0
    try {
      // Damage seldom gets past a checksum: some inputs are what is compressed.
      const body = random(4) === 0 ? gzipSync(input, { level: 1 }) : input
      const bytes = await inflate(
        body,
        random(16) === 0 ? 'deflate' : 'gzip',
        LIMIT,
        (more) => (grown += more),
      )
      if (bytes.length !== grown) throw new Error(`${grown} bytes were announced, ${bytes.length} came`)
      return true
    } catch (error) {
      const code = faultOf(error)?.code
      if (grown > LIMIT) throw new Error(`${grown} bytes were kept`, { cause: error })
      if (code === 'BATCH_MALFORMED' || code === 'BATCH_TOO_LARGE') return false
      throw error
    }
  },
}

/** A length-prefixed gRPC message and what follows it, cut anywhere: what comes out is what went in, or nothing. */
export const grpcMessage: Target = {
  name: 'grpc-message',
  seeds: (seed) =>
    sampled(seed, 50).map((body, n) => {
      const prefix = Buffer.alloc(5)
      prefix[0] = n % 2
      prefix.writeUInt32BE(body.length, 1)
      return Buffer.concat(n % 3 === 0 ? [prefix, body, prefix] : [prefix, body])
    }),
  run(input, random) {
    let refused = false
    const message = new GrpcMessage({
      reserve: (length) => {
        refused ||= length > LIMIT
        return !refused
      },
    })
    for (let at = 0; at < input.length;) {
      const end = at + 1 + random(400)
      message.push(Buffer.from(input.subarray(at, end)))
      at = end
    }
    const { whole } = message
    const declared = input.length < 5 ? undefined : Buffer.from(input).readUInt32BE(1)
    const isWhole = declared !== undefined && declared <= LIMIT && input.length >= 5 + declared
    if ((whole !== undefined) !== isWhole) throw new Error(`whole: ${whole !== undefined}, not ${isWhole}`)
    if (whole === undefined) return false
    if (whole.compare(input, 5, 5 + whole.length) !== 0) throw new Error('the message is not what was sent')
    if (message.isFollowed !== input.length > 5 + whole.length) throw new Error('what follows was not seen')
    return true
  },
}
