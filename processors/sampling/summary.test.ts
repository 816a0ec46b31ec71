import { describe, expect, it } from 'vitest'
import { Agenda, Summary } from './summary.ts'
import type { TraceKey } from './trace-key.ts'

const summary = (n: number) => new Summary(String(n) as TraceKey, n, n, n, { randomness: 0, before: 1 })

describe('the agenda', () => {
  it('gives back what is due in order, however many were judged before their time', () => {
    const agenda = new Agenda()
    const due = [5000, 1000, 3000].map((ms) => ({ ms, summary: summary(ms) }))
    for (const one of due) agenda.add(one.summary, one.ms)
    for (let n = 0; n < 20_000; n++) {
      const early = summary(n)
      agenda.add(early, n % 7000)
      early.isJudged = true
    }
    expect(agenda.size).toBeLessThan(5000)
    const found: number[] = []
    for (let next = agenda.next(1e9); next !== undefined; next = agenda.next(1e9)) {
      if (!next.summary.isJudged) found.push(next.dueMs)
    }
    expect(found).toEqual([1000, 3000, 5000])
  })
})
