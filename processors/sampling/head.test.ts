import { createHash } from 'node:crypto'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Batch } from '../../pipeline/batch/batch.ts'
import { decodeBatch } from '../../pipeline/batch/otlp-batch.ts'
import { keyId } from '../../pipeline/batch/keys.ts'
import { factsOf } from '../../pipeline/genai/facts-of.ts'
import { otOf, probabilityOf } from '../../pipeline/sampling/trace-state.ts'
import { writeRequest } from '../../proto/otlp/write.ts'
import { HeadSampler } from './head.ts'
import { testMeta } from '../../test/support/batch-meta.ts'

const SETTINGS = { mode: 'equalizing', sampling_precision: 4, fail_closed: true } as const

function batchOf(ids: readonly Buffer[], state = ''): Batch {
  const bytes = writeRequest([
    {
      resource: [],
      scope: { name: 's', version: '' },
      spans: ids.map((traceId) => ({
        traceId,
        spanId: Buffer.alloc(8, 1),
        name: 'chat',
        kind: 1,
        startNs: 1n,
        endNs: 2n,
        attributes: [],
        statusCode: 0,
      })),
    },
  ])
  const batch = decodeBatch(bytes, testMeta())
  if (state !== '') for (let row = 0; row < batch.rows; row++) batch.setTraceState(row, state)
  return batch
}

const ids = (count: number, salt = '') =>
  Array.from({ length: count }, (_, n) => createHash('sha256').update(`${salt}${n}`).digest().subarray(0, 16))

function keptBy(percentage: number, batch: Batch, more: object = {}): number[] {
  new HeadSampler(percentage, { ...SETTINGS, ...more }).sample(batch)
  return Array.from({ length: batch.rows }, (_, row) => row).filter((row) => batch.isLive(row))
}

const anId = fc.uint8Array({ minLength: 16, maxLength: 16 }).filter((id) => id.some((byte) => byte !== 0))
const aPercentage = fc.double({ min: 0.001, max: 100, noNaN: true })

describe('head sampling', () => {
  it('keeps the same traces in every daemon, and with more all that less would keep', () => {
    fc.assert(
      fc.property(fc.array(anId, { minLength: 1, maxLength: 40 }), aPercentage, aPercentage, (list, a, b) => {
        const all = list.map((id) => Buffer.from(id))
        const [less, more] = [Math.min(a, b), Math.max(a, b)]
        const few = keptBy(less, batchOf(all))
        expect(keptBy(less, batchOf(all))).toEqual(few)
        const many = new Set(keptBy(more, batchOf(all)))
        expect(few.filter((row) => !many.has(row))).toEqual([])
      }),
    )
  })

  it('comes to the same whether another daemon sampled before or not (equalizing)', () => {
    fc.assert(
      fc.property(fc.array(anId, { minLength: 1, maxLength: 40 }), aPercentage, aPercentage, (list, a, b) => {
        const all = list.map((id) => Buffer.from(id))
        const twice = batchOf(all)
        keptBy(a, twice)
        const both = keptBy(b, twice)
        const once = batchOf(all)
        expect(both).toEqual(keptBy(Math.min(a, b), once))
        for (const row of both) expect(twice.traceState(row)).toBe(once.traceState(row))
      }),
    )
  })

  it('keeps the share, and the weights add up to what there was', () => {
    for (const percentage of [50, 10, 1]) {
      const batch = batchOf(ids(40_000))
      const kept = keptBy(percentage, batch)
      const expected = 400 * percentage
      expect(Math.abs(kept.length - expected)).toBeLessThan(5 * Math.sqrt(expected))
      const rates = factsOf(batch).sampleRate
      const total = kept.reduce((sum, row) => sum + (rates[row] ?? 0), 0)
      expect(total / 40_000).toBeCloseTo(kept.length / expected, 2)
      const again = decodeBatch(batch.encode(), batch.meta)
      expect(otOf(again.traceState(0)).threshold).toBe(otOf(batch.traceState(kept[0]!)).threshold)
    }
  })

  it('writes facts that were made before, and takes rv before the trace id', () => {
    const batch = batchOf(ids(3))
    factsOf(batch)
    for (let row = 0; row < 3; row++) batch.setTraceState(row, `ot=rv:${['ff', '80', '00'][row]}000000000000`)
    expect(keptBy(50, batch)).toEqual([0, 1])
    expect([...batch.facts!.sampleRate.subarray(0, 2)]).toEqual([2, 2])
    expect(batch.traceState(0)).toBe('ot=th:8;rv:ff000000000000')
  })

  it('takes the percentage of what arrives (proportional), and clears a threshold that is a lie', () => {
    const batch = batchOf(ids(4000), 'ot=th:8')
    const before = ids(4000).filter((id) => id[9]! >= 0x80).length
    const kept = keptBy(50, batch, { mode: 'proportional' })
    for (const row of kept)
      expect(otOf(batch.traceState(row)).threshold).toBe(
        batch.traceId(row)[9]! >= 0x80 ? 0.75 * 2 ** 52 : 0.5 * 2 ** 52,
      )
    expect(kept.filter((row) => batch.traceId(row)[9]! >= 0xc0).length).toBe(kept.length)
    expect(Math.abs(kept.length - before / 2)).toBeLessThan(5 * Math.sqrt(before))
    const lie = batchOf([Buffer.from(`${'00'.repeat(9)}10${'00'.repeat(6)}`, 'hex')], 'a=b,ot=th:8')
    expect(keptBy(100, lie)).toEqual([0])
    expect(probabilityOf(otOf(lie.traceState(0)).threshold ?? 0)).toBe(1)
  })

  it('lets sampling.priority win, and leaves out what has no trace id unless it may not', () => {
    const batch = batchOf(ids(2))
    batch.set(0, keyId('sampling.priority'), 1)
    batch.set(1, keyId('sampling.priority'), 0)
    expect(keptBy(0, batch)).toEqual([0])
    expect(keptBy(100, batchOf([Buffer.alloc(0)]))).toEqual([])
    expect(keptBy(1, batchOf([Buffer.alloc(0)]), { fail_closed: false })).toEqual([0])
  })
})
