import { describe, expect, it } from 'vitest'
import { samplesOf } from '../../../bench/injection-samples.ts'
import { InjectionDetector, type Origin } from '../text/injection.ts'

/** What the README promises of the weights as shipped; `npm run accuracy -- injection` prints all figures. */
const samples = samplesOf('../shared/data')
const detector = new InjectionDetector()

function share(set: string, origin: Origin): number {
  const texts = samples.filter((sample) => sample.set === set)
  expect(texts.length).toBeGreaterThan(20)
  return texts.filter(({ text }) => detector.judge(text, origin) !== undefined).length / texts.length
}

describe.skipIf(samples.length === 0)('on the shared data (skipped: it is not beside this checkout)', () => {
  it.each<[string, Origin]>([
    ['tau-bench user turns', 'direct'],
    ['presidio sentences', 'direct'],
    ['framework traces, user', 'direct'],
    ['tau-bench tool results', 'indirect'],
    ['presidio sentences', 'indirect'],
  ])('at most 1 %% of %s, %s, are false positives', (set, origin) => {
    expect(share(set, origin)).toBeLessThanOrEqual(0.01)
  })

  it.each<[string, Origin, number]>([
    ['in-the-wild jailbreaks', 'direct', 0.9],
    ['in-the-wild jailbreaks', 'indirect', 0.9],
    ['BIPIA code attacks', 'indirect', 0.9],
    ['BIPIA text attacks', 'indirect', 0.55],
  ])('of %s, %s, at least %d are found', (set, origin, least) => {
    expect(share(set, origin)).toBeGreaterThanOrEqual(least)
  })
})
