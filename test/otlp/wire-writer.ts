/** Writes protobuf fields for tests. Shares nothing with `proto/wire.ts`, so that the two can disagree. */
export function varint(value: number | bigint): number[] {
  const out: number[] = []
  let rest = BigInt.asUintN(64, BigInt(value))
  do {
    const low = Number(rest & 0x7fn)
    rest >>= 7n
    out.push(rest === 0n ? low : low | 0x80)
  } while (rest !== 0n)
  return out
}

export function uint(field: number, value: number | bigint): Uint8Array {
  return Uint8Array.from([...varint(field * 8), ...varint(value)])
}

export function fixed64(field: number, value: bigint): Uint8Array {
  const out = new DataView(new ArrayBuffer(8))
  out.setBigUint64(0, value, true)
  return join(Uint8Array.from(varint(field * 8 + 1)), new Uint8Array(out.buffer))
}

export function double(field: number, value: number): Uint8Array {
  const out = new DataView(new ArrayBuffer(8))
  out.setFloat64(0, value, true)
  return join(Uint8Array.from(varint(field * 8 + 1)), new Uint8Array(out.buffer))
}

export function fixed32(field: number, value: number): Uint8Array {
  const out = new DataView(new ArrayBuffer(4))
  out.setUint32(0, value, true)
  return join(Uint8Array.from(varint(field * 8 + 5)), new Uint8Array(out.buffer))
}

/** A length-delimited field: text, bytes, or the message made of parts. */
export function len(field: number, ...parts: (Uint8Array | string)[]): Uint8Array {
  const body = join(
    ...parts.map((part) => (typeof part === 'string' ? new TextEncoder().encode(part) : part)),
  )
  return join(Uint8Array.from([...varint(field * 8 + 2), ...varint(body.length)]), body)
}

export function join(...parts: Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((size, part) => size + part.length, 0))
  let at = 0
  for (const part of parts) {
    out.set(part, at)
    at += part.length
  }
  return out
}
