import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { DedupeWindow, memberKey } from './dedupe.ts'
import type { Member } from './envelope.ts'

function member(fields: Partial<Member>): Member {
  return {
    digest: new Uint8Array(16),
    part: 0,
    firstRow: 0,
    principal: '',
    project: '',
    source: '',
    receivedAtMs: 0,
    spans: 1,
    bytes: new Uint8Array(),
    ...fields,
  }
}

const WINDOW = { windowMs: 100, maxBytes: 1e9 }

describe('dedupe window', () => {
  it('drops exactly what was seen within the window, wherever a reader starts over', () => {
    const sightings = fc.array(fc.tuple(fc.nat(6), fc.nat(60)), { maxLength: 60 })
    fc.assert(
      fc.property(sightings, fc.nat(60), (list, restart) => {
        let now = 0
        const log = list.map(([key, step]) => ({ key: String(key), timeMs: (now += step) }))
        const expected = log.map(({ key, timeMs }, at) =>
          log.slice(0, at).some((one) => one.key === key && timeMs - one.timeMs <= WINDOW.windowMs),
        )
        const whole = new DedupeWindow(WINDOW)
        expect(log.map(({ key, timeMs }) => whole.pass(key, timeMs))).toEqual(expected)
        // A reader that rebuilds reads the window before its position only.
        const at = Math.min(restart, log.length)
        const from = (log[at]?.timeMs ?? 0) - WINDOW.windowMs
        const rebuilt = new DedupeWindow(WINDOW)
        for (const one of log.slice(0, at)) if (one.timeMs >= from) rebuilt.pass(one.key, one.timeMs)
        expect(log.slice(at).map(({ key, timeMs }) => rebuilt.pass(key, timeMs))).toEqual(expected.slice(at))
      }),
    )
  })

  it('forgets the oldest over its bound and stays small', () => {
    const window = new DedupeWindow({ windowMs: 1e9, maxBytes: 160 * 10 })
    for (let n = 0; n < 20_000; n++) window.pass(`k${n}`, n)
    expect(window.size).toBe(10)
    expect(window.pass('k19999', 20_000)).toBe(true)
    expect(window.pass('k5', 20_001)).toBe(false)
  })

  it('tells tenants, parts and other ways of splitting apart', () => {
    const keys = [
      memberKey('a', member({})),
      memberKey('b', member({})),
      memberKey('a', member({ spans: 2 })),
      memberKey('a', member({ part: 1, firstRow: 1 })),
      memberKey('a', member({ part: 1, firstRow: 2 })),
      memberKey('a', member({ digest: new Uint8Array(16).fill(1) })),
    ]
    expect(new Set(keys).size).toBe(keys.length)
    expect(memberKey('a', member({ receivedAtMs: 5 }))).toBe(keys[0])
  })
})
