/** HTTP/2 as bytes, for what no client library will send (RFC 9113 section 4.1, RFC 7541). */
export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')

export const FRAME = {
  data: 0,
  headers: 1,
  rstStream: 3,
  settings: 4,
  ping: 6,
  windowUpdate: 8,
  continuation: 9,
} as const
export const END_STREAM = 1
export const END_HEADERS = 4

export function frame(
  type: number,
  flags: number,
  stream: number,
  payload: Uint8Array = new Uint8Array(),
): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head.writeUInt8(type, 3)
  head.writeUInt8(flags, 4)
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
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
