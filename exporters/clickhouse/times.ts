import type { WordColumn } from '../../proto/clickhouse/columns.ts'

/** A 64-bit column as pairs of 32 bits, low first. */
export function halves(values: BigInt64Array | Float64Array): Uint32Array {
  return new Uint32Array(values.buffer, values.byteOffset, values.length * 2)
}

/** end − start in ns; 0 where the end is absent or before the start. */
export function addDuration(column: WordColumn, bytes: Buffer, start: number, end: number): void {
  if (end < 0) {
    column.addPair(0, 0)
    return
  }
  const startLow = start < 0 ? 0 : bytes.readUInt32LE(start)
  const startHigh = start < 0 ? 0 : bytes.readUInt32LE(start + 4)
  const low = bytes.readUInt32LE(end) - startLow
  const high = bytes.readUInt32LE(end + 4) - startHigh - (low < 0 ? 1 : 0)
  if (high < 0) column.addPair(0, 0)
  else column.addPair(low >>> 0, high)
}

export function startMs(bytes: Buffer, start: number): number {
  if (start < 0) return 0
  return (bytes.readUInt32LE(start + 4) * 4_294_967_296 + bytes.readUInt32LE(start)) / 1e6
}
