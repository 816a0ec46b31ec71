import { frameHead } from '../../bench/load/h2-frames.ts'

/** HTTP/2 as bytes, for what no client library will send (RFC 9113 section 4.1, RFC 7541). */
export { FRAME, PREFACE } from '../../bench/load/h2-frames.ts'

export const END_STREAM = 1
export const END_HEADERS = 4

export function frame(
  type: number,
  flags: number,
  stream: number,
  payload: Uint8Array = new Uint8Array(),
): Buffer {
  return Buffer.concat([frameHead(payload.length, type, flags, stream), payload])
}

/** Indexed `:method POST` and `:scheme http`, then literals without indexing. */
export function grpcHeaders(path: string): Buffer {
  const literal = (index: readonly number[], value: string) =>
    Buffer.concat([Buffer.from([...index, value.length]), Buffer.from(value)])
  return Buffer.concat([
    Buffer.from([0x83, 0x86]),
    literal([0x01], '127.0.0.1'),
    literal([0x04], path),
    literal([0x0f, 0x10], 'application/grpc'),
  ])
}

export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}
