/** Where the lines of a buffer lie, without copying any. */

export type Width = 1 | 2

/** Code units of a newline: one byte, or two of UTF-16 in either order. */
export interface Newline {
  readonly width: Width
  /** Which byte of the unit holds 0x0a. */
  readonly low: 0 | 1
}

export const BYTE_NEWLINE: Newline = { width: 1, low: 0 }

/** The end of the line that begins at `from` (behind its newline); -1 where the buffer has none. */
export function lineEnd(bytes: Buffer, from: number, end: number, { width, low }: Newline): number {
  if (width === 1) {
    const at = bytes.indexOf(0x0a, from)
    return at < 0 || at >= end ? -1 : at + 1
  }
  for (let at = from; ;) {
    const hit = bytes.indexOf(0x0a, at)
    if (hit < 0 || hit >= end) return -1
    const unit = hit - ((hit - from) & 1)
    if (unit + 2 > end) return -1
    if (hit - unit === low && bytes[unit + 1 - low] === 0) return unit + 2
    at = hit + 1
  }
}

/** Behind the last newline of `[from, end)`; `from` where there is none. */
export function lastLineEnd(bytes: Buffer, from: number, end: number, newline: Newline): number {
  if (newline.width === 1) {
    const at = bytes.subarray(from, end).lastIndexOf(0x0a)
    return from + at + 1
  }
  const { low } = newline
  for (let unit = end - ((end - from) & 1) - 2; unit >= from; unit -= 2) {
    if (bytes[unit + low] === 0x0a && bytes[unit + 1 - low] === 0) return unit + 2
  }
  return from
}
