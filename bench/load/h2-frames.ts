/** The frames of HTTP/2 (RFC 9113 section 4.1): length (3), type (1), flags (1), stream id (4), then the payload. */
export const FRAME_HEAD = 9

export const FRAME = {
  data: 0,
  headers: 1,
  rstStream: 3,
  settings: 4,
  ping: 6,
  goAway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const

export const FLAG = { ack: 0x1, endStream: 0x1, endHeaders: 0x4 } as const

export const SETTING = { headerTableSize: 1, enablePush: 2, initialWindowSize: 4, maxFrameSize: 5 } as const

export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')

export function frameHead(length: number, type: number, flags: number, stream: number): Buffer {
  const head = Buffer.allocUnsafe(FRAME_HEAD)
  head.writeUIntBE(length, 0, 3)
  head[3] = type
  head[4] = flags
  head.writeUInt32BE(stream, 5)
  return head
}

export function settingsFrame(settings: Readonly<Record<number, number>>): Buffer {
  const entries = Object.entries(settings)
  const payload = Buffer.alloc(6 * entries.length)
  entries.forEach(([id, value], at) => {
    payload.writeUInt16BE(Number(id), 6 * at)
    payload.writeUInt32BE(value, 6 * at + 2)
  })
  return Buffer.concat([frameHead(payload.length, FRAME.settings, 0, 0), payload])
}

export function windowFrame(stream: number, bytes: number): Buffer {
  const frame = Buffer.concat([frameHead(4, FRAME.windowUpdate, 0, stream), Buffer.alloc(4)])
  frame.writeUInt32BE(bytes, FRAME_HEAD)
  return frame
}

/**
 * A request's header block for one connection (RFC 7541): the first puts the fields into the peer's dynamic table, those
 * after it name them by index, as real clients do. `:method POST` and `:scheme http` are entries 3 and 6 of the static table.
 */
export function headerBlocks(fields: readonly (readonly [string, string])[]): {
  first: Buffer
  later: Buffer
} {
  const literals = fields.map(([name, value]) => Buffer.concat([Buffer.of(0x40), text(name), text(value)]))
  const first = Buffer.concat([Buffer.of(0x83, 0x86), ...literals])
  // The newest entry has the first index behind the static table's 61.
  const indexes = fields.map((_, at) => 0x80 | (61 + fields.length - at))
  return { first, later: Buffer.of(0x83, 0x86, ...indexes) }
}

function text(value: string): Buffer {
  if (value.length > 126) throw new RangeError(`a header of ${value.length} characters needs a longer length`)
  return Buffer.concat([Buffer.of(value.length), Buffer.from(value)])
}

/** Cuts what arrives into frames. */
export class FrameReader {
  #rest: Buffer = Buffer.alloc(0)
  readonly #onFrame: (type: number, flags: number, stream: number, payload: Buffer) => void

  constructor(onFrame: (type: number, flags: number, stream: number, payload: Buffer) => void) {
    this.#onFrame = onFrame
  }

  push(chunk: Buffer): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    let at = 0
    while (bytes.length - at >= FRAME_HEAD) {
      const end = at + FRAME_HEAD + bytes.readUIntBE(at, 3)
      if (end > bytes.length) break
      const stream = bytes.readUInt32BE(at + 5) & 0x7fff_ffff
      this.#onFrame(bytes[at + 3] ?? 0, bytes[at + 4] ?? 0, stream, bytes.subarray(at + FRAME_HEAD, end))
      at = end
    }
    this.#rest = bytes.subarray(at)
  }
}
