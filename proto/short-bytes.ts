/**
 * Short runs of bytes, such as names, compared and hashed four bytes at a time. They lie in a DataView, which reads words
 * at any place.
 */

/** The values of a request follow one another: its view is made once. */
export function viewOf(source: Uint8Array): DataView {
  if (source === lastSource) return lastView
  lastSource = source
  lastView = new DataView(source.buffer, source.byteOffset, source.byteLength)
  return lastView
}
let lastSource: Uint8Array = new Uint8Array(0)
let lastView: DataView = new DataView(lastSource.buffer)

/** The last four bytes overlap those before. */
export function isSame(one: DataView, at: number, other: DataView, start: number, size: number): boolean {
  if (size < 4) {
    for (let i = 0; i < size; i++) if (one.getUint8(at + i) !== other.getUint8(start + i)) return false
    return true
  }
  for (let i = 0; i < size - 4; i += 4) if (one.getInt32(at + i) !== other.getInt32(start + i)) return false
  return one.getInt32(at + size - 4) === other.getInt32(start + size - 4)
}

/**
 * Of the size and the first, middle and last four bytes, where names of one kind differ. Those that are alike there must be
 * told apart by their bytes.
 */
export function hashOf(source: DataView, start: number, size: number): number {
  let h = size
  if (size < 4) for (let i = 0; i < size; i++) h = Math.imul(h ^ source.getUint8(start + i), 0x01000193)
  else {
    const middle = source.getInt32(start + ((size - 4) >> 1))
    const last = source.getInt32(start + size - 4)
    h = Math.imul(h ^ source.getInt32(start), 0x85ebca6b) + Math.imul(middle, 0xc2b2ae35)
    h = Math.imul(h ^ (h >>> 15) ^ last, 0x85ebca6b)
  }
  return h ^ (h >>> 15)
}
