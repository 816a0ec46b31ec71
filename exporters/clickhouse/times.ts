/** A 64-bit column as pairs of 32 bits, low first. */
export function halves(values: BigInt64Array | Float64Array): Uint32Array {
  return new Uint32Array(values.buffer, values.byteOffset, values.length * 2)
}
