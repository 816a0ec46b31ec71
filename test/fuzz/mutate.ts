/** Damage that varints, lengths, quotes and brackets turn on: bits flipped, bytes cut, inserted, repeated, set. */
const EDGE_BYTES = [0x00, 0x01, 0x07, 0x0a, 0x12, 0x7f, 0x80, 0x81, 0xff]
/** What texts turn on. */
const TEXT_PIECES = [
  '{',
  '}',
  '[',
  ']',
  '"',
  '\\u',
  '\\',
  ',',
  ':',
  '-',
  '1e999',
  '\n',
  'null',
  '__proto__',
  '\ud800',
  '[0,]{',
  '  ',
  '\t',
  '|',
]

export function mutate(bytes: Uint8Array, random: Random): Uint8Array {
  let out = Buffer.from(bytes)
  for (let times = random(4) + 1; times > 0 && out.length > 0; times--) {
    const at = random(out.length)
    switch (random(8)) {
      case 0:
        out[at] = out[at]! ^ (1 << random(8))
        break
      case 1:
        out[at] = EDGE_BYTES[random(EDGE_BYTES.length)]!
        break
      case 2:
        out[at] = out[at]! + (random(2) === 0 ? 1 : -1)
        break
      case 3:
        out = out.subarray(0, at)
        break
      case 4:
        out = Buffer.concat([out.subarray(0, at), out.subarray(at + random(8) + 1)])
        break
      case 5: {
        const piece = Buffer.from(
          Array.from({ length: random(12) + 1 }, () => EDGE_BYTES[random(EDGE_BYTES.length)]!),
        )
        out = Buffer.concat([out.subarray(0, at), piece, out.subarray(at)])
        break
      }
      case 6: {
        const piece = Buffer.from(TEXT_PIECES[random(TEXT_PIECES.length)]!.repeat(random(3) + 1))
        out = Buffer.concat([out.subarray(0, at), piece, out.subarray(at)])
        break
      }
      default: {
        const end = Math.min(out.length, at + random(64))
        out = Buffer.concat([out.subarray(0, end), out.subarray(at)])
      }
    }
  }
  return out
}

/** A whole number below the argument. */
export type Random = (below: number) => number

/** mulberry32 */
export function generator(seed: number): Random {
  let state = seed >>> 0
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 4294967296) * below)
  }
}
