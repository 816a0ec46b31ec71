import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { jobConfig, Timetable } from './timing.ts'

const schema = jobConfig({})
const iso = (ms: number | undefined): string | undefined =>
  ms === undefined ? ms : new Date(ms).toISOString()

function table(config: object): Timetable {
  return new Timetable('retention', schema.parse(config))
}

/** `count` ticks after a time. */
function ticks(config: object, from: string, count: number): (string | undefined)[] {
  const timetable = table(config)
  const found: (string | undefined)[] = []
  let at = Date.parse(from)
  for (let each = 0; each < count; each++) {
    at = timetable.after(at)?.tickMs ?? NaN
    found.push(iso(at))
  }
  return found
}

describe('a timetable', () => {
  it('keeps a time of day through changes of clocks: once, late where the hour is left out', () => {
    const daily = { schedule: '30 2 * * *', timezone: 'Europe/Berlin' }
    expect(ticks(daily, '2026-03-28T00:00:00Z', 3)).toEqual([
      '2026-03-28T01:30:00.000Z',
      '2026-03-29T01:00:00.000Z',
      '2026-03-30T00:30:00.000Z',
    ])
    expect(ticks(daily, '2026-10-24T00:00:00Z', 3)).toEqual([
      '2026-10-24T00:30:00.000Z',
      '2026-10-25T00:30:00.000Z',
      '2026-10-26T01:30:00.000Z',
    ])
  })

  it('follows real time with steps, through the hour that occurs twice', () => {
    expect(ticks({ schedule: '*/30 * * * *', timezone: 'Europe/Berlin' }, '2026-10-24T23:59:00Z', 4)).toEqual(
      [
        '2026-10-25T00:00:00.000Z',
        '2026-10-25T00:30:00.000Z',
        '2026-10-25T01:00:00.000Z',
        '2026-10-25T01:30:00.000Z',
      ],
    )
  })

  it('has seconds with six fields, and intervals that all daemons share', () => {
    expect(ticks({ schedule: '*/20 * * * * *' }, '2026-01-01T00:00:05Z', 2)).toEqual([
      '2026-01-01T00:00:20.000Z',
      '2026-01-01T00:00:40.000Z',
    ])
    expect(ticks({ every: '90m' }, '2026-01-01T00:00:00Z', 2)).toEqual([
      '2026-01-01T01:30:00.000Z',
      '2026-01-01T03:00:00.000Z',
    ])
    expect(table({}).after(0)).toBeUndefined()
    expect(table({ schedule: '* * * * *', enabled: false }).after(0)).toBeUndefined()
  })

  it('gives of many missed ticks the newest that is due', () => {
    const timetable = table({ schedule: '0 2 * * *' })
    const from = Date.parse('2020-01-01T00:00:00Z')
    expect(iso(timetable.latest(from, Date.parse('2026-01-05T02:00:00Z'))?.tickMs)).toBe(
      '2026-01-05T02:00:00.000Z',
    )
    expect(iso(timetable.latest(from, Date.parse('2026-01-05T01:59:59.999Z'))?.tickMs)).toBe(
      '2026-01-04T02:00:00.000Z',
    )
    expect(
      timetable.latest(Date.parse('2026-01-05T02:00:00Z'), Date.parse('2026-01-06T01:59:59Z')),
    ).toBeUndefined()
  })

  it.each([
    [{ schedule: '0 2 * *' }, 'cron'],
    [{ schedule: '99 2 * * *' }, 'minute'],
    [{ schedule: '0 0 31 2 *' }, 'never|no time'],
    [{ timezone: 'Mars/Olympus' }, 'IANA'],
    [{ every: '10ms' }, '1s'],
    [{ catch_up: 'all' }, 'once'],
    [{ sched: '* * * * *' }, 'sched'],
  ])('%j is refused', (config, words) => {
    const result = schema.safeParse(config)
    expect(result.success).toBe(false)
    expect(result.error?.message).toMatch(new RegExp(words))
  })
})

describe('jitter', () => {
  const config = fc.oneof(
    fc.record({ every: fc.integer({ min: 1, max: 100_000 }).map((seconds) => `${seconds}s`) }),
    fc.record({
      schedule: fc.constantFrom('*/5 * * * *', '0 2 * * *', '0 0 1 * *', '15 3 * * 1'),
      timezone: fc.constantFrom('UTC', 'Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe'),
    }),
  )

  it('is the same everywhere, within bounds, and never lets runs pass each other', () => {
    const jitter = fc.integer({ min: 0, max: 200_000 }).map((seconds) => `${seconds}s`)
    const time = fc.integer({ min: Date.UTC(2025, 0), max: Date.UTC(2030, 0) })
    fc.assert(
      fc.property(config, jitter, time, (base, late, nowMs) => {
        const timetable = table({ ...base, jitter: late })
        const first = timetable.after(nowMs)
        expect(table({ ...base, jitter: late }).after(nowMs)).toEqual(first)
        if (first === undefined) return
        const second = timetable.after(first.tickMs)
        expect(first.tickMs).toBeGreaterThan(nowMs)
        expect(first.dueMs).toBeGreaterThanOrEqual(first.tickMs)
        expect(first.dueMs).toBeLessThanOrEqual(first.tickMs + Number.parseInt(late) * 1000)
        expect(second?.tickMs).toBeGreaterThanOrEqual(first.dueMs)
        // What is due next becomes the latest exactly when its time has come.
        expect(timetable.latest(nowMs, first.dueMs)).toEqual(first)
        expect(timetable.latest(nowMs, first.dueMs - 1)).toBeUndefined()
      }),
      { numRuns: 100 },
    )
  })

  it('differs from tick to tick', () => {
    const timetable = table({ every: '1h', jitter: '30m' })
    const late = new Set<number>()
    let at = 0
    for (let each = 0; each < 20; each++) {
      const next = timetable.after(at)
      if (next === undefined) break
      late.add(next.dueMs - next.tickMs)
      at = next.tickMs
    }
    expect(late.size).toBe(20)
  })
})
