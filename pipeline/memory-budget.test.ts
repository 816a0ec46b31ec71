import { describe, expect, it } from 'vitest'
import { ByteGate } from './intake.ts'
import { memoryBudget } from './memory-budget.ts'

const MIB = 1024 * 1024

describe('what is taken in at once', () => {
  it.each<[limitMib: number, inFlight: number, request: number, idlePool: number, semiSpace: number]>([
    [64, 4, 4, 4, 4],
    [256, 12, 24, 16, 4],
    [512, 44, 88, 32, 8],
    [1024, 108, 216, 64, 16],
    [8192, 192, 2008, 128, 64],
  ])('of %i MiB: %i in flight, %i in one request', (limit, inFlight, request, idlePool, semiSpace) => {
    const budget = memoryBudget(limit * MIB)
    const sizes = [budget.intakeBytes, budget.requestBytes, budget.idlePoolBytes]
    expect(sizes.map((bytes) => Math.floor(bytes / MIB))).toEqual([inFlight, request, idlePool])
    expect(budget.semiSpaceMib).toBe(semiSpace)
  })

  it('one request larger than the limit passes when alone, however many times it takes', () => {
    const gate = new ByteGate(100, 1000)
    gate.take(90)
    gate.take(300, 90)
    expect(gate.held).toBe(390)
    expect(() => gate.take(1)).toThrow(/over 100 bytes/)
    gate.give(390)
    gate.take(50)
    gate.take(1)
    expect(() => gate.take(50, 50)).toThrow(/over 100 bytes/)
  })

  it('one that memory does not suffice for is refused for good', () => {
    const gate = new ByteGate(100, 1000)
    gate.take(900)
    const verdict = { code: 'BATCH_TOO_LARGE', verdict: { do: 'reject' } }
    expect(() => gate.take(101, 900)).toThrow(expect.objectContaining(verdict) as Error)
    expect(gate.held).toBe(900)
  })
})
