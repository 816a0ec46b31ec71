import { describe, expect, it } from 'vitest'
import { RATIO, ratioOf } from '../../test/support/linear-time.ts'
import { FEATURE } from './detect/features.ts'
import type { Detector } from './detect/finding.ts'
import { createDetectors } from './detect/registry.ts'
import { digitWindows } from './detect/windows.ts'
import { SensitiveKeys, sensitiveWords } from './keys.ts'
import { Policy } from './policy.ts'
import { customDetectors } from './rules.ts'
import { secretRules } from './secrets/secrets.ts'
import { Scrubber } from './text/scrubber.ts'

const keys = new SensitiveKeys()
const custom = customDetectors([
  { name: 'nested', pattern: '(?:x+x+)+y', keywords: ['xxx'], ignore_case: false },
])
const detectors = createDetectors(keys, [], sensitiveWords([]))

/** What makes naive searches start over at every position. */
const UNITS = [
  'a',
  '1',
  '0 ',
  '@',
  'a@',
  'a.',
  'a@a.',
  '1.',
  '1-',
  '(1',
  '+1 ',
  ':',
  'a:',
  '::a',
  '=',
  'key=',
  'password=',
  'password: ',
  'password="',
  '"password":',
  '\\"token\\":\\"',
  '--token ',
  '<password>',
  'eyJ',
  'eyJ.',
  'eyJhbGciOiJI.eyJ',
  '-----BEGIN PRIVATE KEY-----',
  '-----BEGIN PRIVATE KEY-----\nMIIE',
  '://',
  'http://a:',
  '%40',
  '%',
  'a%4',
  '\\u0040',
  '{"',
  '{"a":',
  '{"a":"',
  '[[',
  '["',
  '\\"',
  'insert into t (password) values (',
  "insert into t (a, password) values ('b','c'),",
  'GB82',
  'GB82 ',
  '0x',
  '3J98t1WpEZ73CNmQviecrnyiWrnqRhWN',
  'YWxpY2VA',
  'curl -u ',
  'curl -H "Authorization: ',
  'curl ',
  'kind: secret\ndata:\n  a: ',
  'x',
  '4111111111111111 ',
  '411 ',
  'call ',
  'call 12 34 56 ',
]

describe('every detector', () => {
  const text = detectors.features
  const cases = detectors.all.map((detector): [string, Detector] => [detector.type, detector])
  it.each(cases)('%s', (_type, detector) => {
    const run = (subject: string): void => {
      const { words } = text.ofText(subject)
      const windows = digitWindows(subject)
      detector.find({ text: subject, key: '', features: ALL, words, windows }, [])
    }
    for (const unit of UNITS) expect([unit, ratioOf(run, unit) <= RATIO]).toEqual([unit, true])
  })
})

/** An expression that takes exponential time by backtracking; the engine takes 0.1 to 0.6 µs per character. */
it.each(['x', 'xxxxxxxxxxxx ', 'a'])('a custom rule over %j', (unit) => {
  const run = (text: string): void =>
    custom[0]!.find({ text, key: '', features: ALL, words: [], windows: [] }, [])
  expect(ratioOf(run, unit)).toBeLessThanOrEqual(RATIO)
})

const ALL = Object.values(FEATURE).reduce((all, bit) => all | bit, 0)

describe('every secret rule', () => {
  const { rules } = secretRules()
  it.each(rules.map((rule): [string, RegExp, readonly string[]] => [rule.id, rule.pattern, rule.keywords]))(
    '%s',
    (_id, pattern, keywords) => {
      const word = keywords[0] ?? 'a'
      const units = [
        word,
        `${word}=`,
        `${word} : `,
        `${word}='a`,
        `${word}_`,
        `${word.toUpperCase()}-1-`,
        `${word}aaaaaaaaaaaaaaaa.`,
      ]
      const run = (subject: string): void => void Array.from(subject.matchAll(pattern))
      for (const unit of units) expect([unit, ratioOf(run, unit) <= RATIO]).toEqual([unit, true])
      for (const tail of ['a', '1', 'A', '-', ' ', '"']) {
        const started = (subject: string): void => run(`${word}=${subject}`)
        expect([tail, ratioOf(started, tail) <= RATIO]).toEqual([tail, true])
      }
    },
  )
})

describe('the whole scrubber', () => {
  const scrubber = new Scrubber(detectors, keys)
  const policy = new Policy('mask', {}, Buffer.alloc(32))
  it.each(UNITS)('%j', (unit) => {
    const run = (text: string): void =>
      void scrubber.scrub(text, '', { policy, counts: new Map(), isWhole: false })
    expect(ratioOf(run, unit)).toBeLessThanOrEqual(RATIO)
  })
})
