import * as fc from 'fast-check'
import { standardRequest } from '../../bench/shape.ts'
import { keyId } from '../../pipeline/batch/keys.ts'
import { decodeBatch, decodeJsonBatch } from '../../pipeline/batch/otlp-batch.ts'
import type { Batch } from '../../pipeline/batch/batch.ts'
import { faultOf } from '../../pipeline/fault.ts'
import { requests } from '../otlp/arbitrary.ts'
import { isValidRequest } from '../otlp/naive-check.ts'
import { naiveRows } from '../otlp/naive.ts'
import { expected, META, rowsOf } from '../otlp/rows-of.ts'
import type { Random } from './mutate.ts'
import { same, unless, type Target } from './target.ts'

/**
 * Whatever comes of a damaged request must be refused with BATCH_MALFORMED where the naive check refuses it, or be read as
 * the naive decoder reads it, and must then survive everything that one does with a batch.
 */
/** The oracle and all that one does with a batch take ten times as long as decoding it. */
const OFTEN = 8

export const otlpProtobuf: Target = {
  name: 'otlp-protobuf',
  seeds: (seed) => [...sampled(seed, 200), standardRequest(seed, 3)],
  run(input, random) {
    const batch = unless(malformed, () => decodeBatch(input, META))
    same(batch !== undefined, isValidRequest(input), input)
    if (batch === undefined) return false
    if (random(OFTEN) === 0) same(rowsOf(batch), expected(naiveRows(input)), input)
    if (random(OFTEN) === 0) exercise(batch, random)
    return true
  },
}

export const otlpJson: Target = {
  name: 'otlp-json',
  seeds: (seed) => sampled(seed, 100).map(jsonOf),
  run(input, random) {
    const batch = unless(malformed, () => decodeJsonBatch(input, META))
    if (batch === undefined) return false
    if (random(OFTEN) === 0) exercise(batch, random)
    return true
  },
}

const SMALL = 1500

export function jsonOf(request: Uint8Array): Buffer {
  return Buffer.from(decodeBatch(request, META).toJson())
}

export function sampled(seed: number, numRuns: number): Uint8Array[] {
  const sizes = fc.sample(requests(), { numRuns, seed }).filter((bytes) => bytes.length > 0)
  // Small ones are damaged in more places per second, a few large ones are there for what only they have.
  return sizes.filter((bytes, n) => bytes.length < SMALL || n % 16 === 0)
}

export function malformed(error: unknown): boolean {
  return faultOf(error)?.code === 'BATCH_MALFORMED'
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
