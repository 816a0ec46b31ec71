import { createHash } from 'node:crypto'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { DedupeWindow } from './dedupe.ts'
import type { Member } from './envelope.ts'

function member(fields: Partial<Member>): Member {
  const digest = new Uint8Array(16)
  const names = { principal: '', project: '', source: '' }
  return {
    digest,
    part: 0,
    firstRow: 0,
    last: true,
    ...names,
    receivedAtMs: 0,
    spans: 1,
    bytes: digest,
    ...fields,
  }
}

/** Members whose keys collide in the table: the first word of their digests is the same. */
function colliding(n: number): Member {
  return member({ digest: new Uint8Array([1, 0, 0, 0, n & 255, n >> 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]) })
}

function numbered(n: number): Member {
  return member({ digest: createHash('sha256').update(String(n)).digest().subarray(0, 16) })
}

describe('dedupe window', () => {
  it('drops exactly what was seen within the window, wherever a reader starts over', () => {
    const sightings = fc.array(fc.tuple(fc.nat(9), fc.nat(60)), { maxLength: 80 })
    fc.assert(
      fc.property(sightings, fc.nat(80), fc.boolean(), (list, restart, collide) => {
        const limits = { windowMs: 100, maxBytes: 1e9 }
        let now = 0
        const log = list.map(([key, step]) => ({
          key,
          one: collide ? colliding(key) : numbered(key),
          timeMs: (now += step),
        }))
        const expected = log.map(({ key, timeMs }, at) =>
          log.slice(0, at).some((one) => one.key === key && timeMs - one.timeMs <= limits.windowMs),
        )
        const whole = new DedupeWindow(limits)
        expect(log.map(({ one, timeMs }) => whole.pass('a', one, timeMs))).toEqual(expected)
        // A reader that rebuilds reads the window before its position only.
        const at = Math.min(restart, log.length)
        const from = (log[at]?.timeMs ?? 0) - limits.windowMs
        const rebuilt = new DedupeWindow(limits)
        for (const { one, timeMs } of log.slice(0, at)) if (timeMs >= from) rebuilt.pass('a', one, timeMs)
        expect(log.slice(at).map(({ one, timeMs }) => rebuilt.pass('a', one, timeMs))).toEqual(
          expected.slice(at),
        )
      }),
      { numRuns: 300 },
    )
  })

  it('agrees with a plain model while it grows and turns over', () => {
    const limits = { windowMs: 9000, maxBytes: 1e9 }
    const window = new DedupeWindow(limits)
    const model = new Map<number, number>()
    let differences = 0
    for (let n = 0; n < 60_000; n++) {
      const key = (n * 7919) % 12_007
      const seen = model.get(key)
      model.set(key, n)
      const expected = seen !== undefined && n - seen <= limits.windowMs
      if (window.pass('a', numbered(key), n) !== expected) differences++
    }
    expect(differences).toBe(0)
    expect(window.size).toBe(limits.windowMs + 1)
  })

  it('forgets the oldest over its bound', () => {
    const window = new DedupeWindow({ windowMs: 1e9, maxBytes: 32 * 5000 })
    for (let n = 0; n < 20_000; n++) window.pass('a', numbered(n), n)
    expect(window.size).toBe(5000)
    expect(window.pass('a', numbered(15_001), 20_000)).toBe(true)
    expect(window.pass('a', numbered(14_000), 20_001)).toBe(false)
  })

  it('tells tenants, parts and other ways of splitting apart, and nothing else', () => {
    const window = new DedupeWindow()
    const pass = (tenant: string, fields: Partial<Member>) => window.pass(tenant, member(fields), 1)
    const news = [
      pass('a', {}),
      pass('b', {}),
      pass('a', { spans: 2 }),
      pass('a', { part: 1, firstRow: 1 }),
      pass('a', { part: 1, firstRow: 2 }),
      pass('a', { digest: new Uint8Array(16).fill(1) }),
    ]
    expect(news).toEqual(Array(6).fill(false))
    expect(pass('a', { receivedAtMs: 5, principal: 'x' })).toBe(true)
  })
})
