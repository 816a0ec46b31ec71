import { EventFault } from './event-fault.ts'
import type { CheckedEvent } from './check.ts'
import { MAX_SEQ } from './event.ts'

/** Numbers of a run that are taken: `[first, last]` in order, apart from each other. */
export type Ranges = readonly (readonly [first: number, last: number])[]

/** More gaps than that are kept of no run; the lowest count as taken then. */
const MAX_RANGES = 256

export function lastOf(ranges: Ranges): number {
  return ranges.at(-1)?.[1] ?? 0
}

/**
 * Each event with its own number, or the next above `base` and every number before it in the batch. With the same
 * base the same events get the same numbers.
 */
export function numbersOf(events: readonly CheckedEvent[], base: number): number[] {
  let last = base
  return events.map(({ event }) => {
    const seq = event.seq ?? last + 1
    last = Math.max(last, seq)
    return seq
  })
}

/** The ranges with these numbers. Throws SEQ_CONFLICT for the first one that is taken; `indexes` are its events' places in the request. */
export function take(ranges: Ranges, numbers: readonly number[], indexes: readonly number[]): Ranges {
  const seen = new Set<number>()
  for (const [at, seq] of numbers.entries()) {
    const index = indexes[at] ?? at
    if (seq > MAX_SEQ) throw conflict(index, `the run has no number left above ${MAX_SEQ}`)
    if (seen.has(seq) || isTaken(ranges, seq)) throw conflict(index, `the run has an event ${seq} already`)
    seen.add(seq)
  }
  return union(
    ranges,
    [...seen].sort((a, b) => a - b),
  )
}

/** The ranges without these numbers. */
export function giveBack(ranges: Ranges, numbers: readonly number[]): Ranges {
  let left: [number, number][] = ranges.map(([first, last]) => [first, last])
  for (const seq of numbers) {
    left = left.flatMap(([first, last]): [number, number][] => {
      if (seq < first || seq > last) return [[first, last]]
      const parts: [number, number][] = [
        [first, seq - 1],
        [seq + 1, last],
      ]
      return parts.filter(([from, to]) => from <= to)
    })
  }
  return left
}

function conflict(index: number, message: string): EventFault {
  return new EventFault('SEQ_CONFLICT', [{ index, field: 'seq', message }])
}

function isTaken(ranges: Ranges, seq: number): boolean {
  for (let at = ranges.length - 1; at >= 0; at--) {
    const range = ranges[at]
    if (range === undefined || seq > range[1]) return false
    if (seq >= range[0]) return true
  }
  return false
}

function union(ranges: Ranges, numbers: readonly number[]): Ranges {
  const points = [...ranges, ...numbers.map((seq) => [seq, seq] as const)].sort((a, b) => a[0] - b[0])
  const merged: [number, number][] = []
  for (const [first, last] of points) {
    const before = merged.at(-1)
    if (before !== undefined && first <= before[1] + 1) before[1] = Math.max(before[1], last)
    else merged.push([first, last])
  }
  const over = merged.length - MAX_RANGES
  if (over <= 0) return merged
  const lowest = merged.splice(0, over + 1)
  return [[lowest[0]?.[0] ?? 0, lowest.at(-1)?.[1] ?? 0], ...merged]
}
