import { ATTR } from '../batch/batch.ts'
import { NUMBERS, SLOTS } from './fields.ts'

/** Which attribute a value came from, and as what: `slot << 11 | rank << 3 | type` (fields.ts: BY_KEY; batch.ts: ATTR). */
export type Source = number

export function sourceOf(entry: number, type: number): Source {
  return (entry << 3) | type
}

export function typeOf(source: Source): number {
  return source & 7
}

export function rankOf(source: Source): number {
  return (source >> 3) & 0xff
}

function slotOf(source: Source): number {
  return source >> 11
}

/**
 * What spans have in common whose values came from the same sources in the same order: per field the best of them.
 * Agents make few shapes, and each is worked out once.
 */
export class Shape {
  readonly sources: Int32Array
  /** slot → which of the sources it is taken from; −1: none. */
  readonly places: Int32Array = new Int32Array(SLOTS).fill(-1)
  /** A token count came as text. */
  readonly textual: boolean

  constructor(sources: Int32Array) {
    this.sources = sources
    const { places } = this
    let textual = false
    for (let place = 0; place < sources.length; place++) {
      const source = sources[place]!
      const slot = slotOf(source)
      const before = places[slot]!
      if (before >= 0 && rankOf(sources[before]!) <= rankOf(source)) continue
      places[slot] = place
      textual ||= slot < NUMBERS && typeOf(source) === ATTR.string
    }
    this.textual = textual
  }

  /** These are its sources. */
  is(sources: Int32Array, count: number): boolean {
    const mine = this.sources
    if (mine.length !== count) return false
    for (let i = 0; i < count; i++) if (mine[i] !== sources[i]) return false
    return true
  }
}

const SETS = 256
/** Spans with more sources than this share no shape. */
const LONGEST = 64

/** Two per hash, the newest stay. */
const known = Array<Shape | undefined>(SETS * 2).fill(undefined)

/** The shape of `sources[0, count)`. */
export function shapeOf(sources: Int32Array, count: number): Shape {
  if (count > LONGEST) return new Shape(sources.slice(0, count))
  let hash = count
  for (let i = 0; i < count; i++) hash = Math.imul(hash ^ sources[i]!, 0x85ebca6b) ^ (hash >>> 15)
  const first = ((hash ^ (hash >>> 16)) & (SETS - 1)) * 2
  const newest = known[first]
  if (newest?.is(sources, count) === true) return newest
  const older = known[first + 1]
  if (older?.is(sources, count) === true) return older
  const shape = new Shape(sources.slice(0, count))
  known[first + 1] = newest
  known[first] = shape
  return shape
}
