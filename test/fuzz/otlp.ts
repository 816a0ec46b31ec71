import * as fc from 'fast-check'
import { standardRequest } from '../../bench/shape.ts'
import { keyId } from '../../pipeline/batch/keys.ts'
import { decodeBatch, decodeJsonBatch } from '../../pipeline/batch/otlp-batch.ts'
import type { Batch } from '../../pipeline/batch/batch.ts'
import { faultOf } from '../../pipeline/fault.ts'
import { requests } from '../otlp/arbitrary.ts'
import { naiveRows } from '../otlp/naive.ts'
import { expected, META, rowsOf } from '../otlp/rows-of.ts'

/**
 * Valid requests, damaged: bits flipped, bytes cut, inserted, repeated, set to the values that varints and lengths turn
 * on. Whatever comes of it must be refused with BATCH_MALFORMED or be read as the naive decoder reads it, and must then
 * survive everything that one does with a batch.
 */
export interface FuzzResult {
  readonly taken: number
  readonly refused: number
  /** The longest time for one input, in ms. */
  readonly slowestMs: number
}

const EDGE_BYTES = [0x00, 0x01, 0x07, 0x0a, 0x12, 0x7f, 0x80, 0x81, 0xff]

export function fuzz(
  count: number,
  seed: number,
  equal: (seen: unknown, wanted: unknown, input: Uint8Array) => void,
): FuzzResult {
  const random = generator(seed)
  const seeds = [
    ...fc.sample(requests(), { numRuns: 200, seed }).filter((bytes) => bytes.length > 0),
    standardRequest(seed, 3),
  ]
  let taken = 0
  let slowestMs = 0
  for (let i = 0; i < count; i++) {
    const input = mutate(seeds[random(seeds.length)]!, random)
    const start = performance.now()
    const batch = attempt(() => decodeBatch(input, META))
    if (batch !== undefined) {
      taken++
      equal(rowsOf(batch), expected(naiveRows(input)), input)
      exercise(batch, random)
    }
    slowestMs = Math.max(slowestMs, performance.now() - start)
  }
  return { taken, refused: count - taken, slowestMs }
}

/** The same over the text of JSON documents. */
export function fuzzJson(count: number, seed: number): FuzzResult {
  const random = generator(seed)
  const seeds = fc
    .sample(requests(), { numRuns: 100, seed })
    .map((bytes) => Buffer.from(decodeBatch(bytes, META).toJson()))
  let taken = 0
  let slowestMs = 0
  for (let i = 0; i < count; i++) {
    const input = mutate(seeds[random(seeds.length)]!, random)
    const start = performance.now()
    const batch = attempt(() => decodeJsonBatch(input, META))
    if (batch !== undefined) {
      taken++
      exercise(batch, random)
    }
    slowestMs = Math.max(slowestMs, performance.now() - start)
  }
  return { taken, refused: count - taken, slowestMs }
}

/** Undefined when refused as it should be; any other error goes up. */
function attempt(decode: () => Batch): Batch | undefined {
  try {
    return decode()
  } catch (error) {
    if (faultOf(error)?.code === 'BATCH_MALFORMED') return undefined
    throw error
  }
}

function exercise(batch: Batch, random: Random): void {
  decodeJsonBatch(Buffer.from(batch.toJson()), META)
  for (let row = 0; row < batch.rows; row++) {
    if (random(3) === 0) batch.set(row, keyId('fuzz'), 'x')
    if (random(5) === 0) batch.drop(row, 'sampled')
    if (random(5) === 0) batch.setName(row, 'fuzz')
  }
  const again = decodeBatch(batch.encode(), META)
  if (again.rows !== batch.live) throw new Error(`${batch.live} spans became ${again.rows}`)
  try {
    const rows = batch.split(200).reduce((sum, part) => sum + part.rows, 0)
    if (rows !== batch.live) throw new Error(`${batch.live} spans became ${rows} when split`)
  } catch (error) {
    if (faultOf(error)?.code !== 'SPAN_TOO_LARGE') throw error
  }
}

function mutate(bytes: Uint8Array, random: Random): Uint8Array {
  let out = Buffer.from(bytes)
  for (let times = random(4) + 1; times > 0 && out.length > 0; times--) {
    const at = random(out.length)
    switch (random(7)) {
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
      default: {
        const end = Math.min(out.length, at + random(64))
        out = Buffer.concat([out.subarray(0, end), out.subarray(at)])
      }
    }
  }
  return out
}

/** A whole number below the argument. */
type Random = (below: number) => number

/** mulberry32 */
function generator(seed: number): Random {
  let state = seed >>> 0
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 4294967296) * below)
  }
}
