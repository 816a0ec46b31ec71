import { describe, expect, it } from 'vitest'
import { textsOf } from '../prompt-injection/messages.ts'
import { exfiltration } from './exfiltration.ts'
import { InjectionDetector } from './injection.ts'
import { shellInjection } from './shell.ts'
import { sqlInjection } from './sql.ts'

/**
 * Time is linear in the text: doubling a text made to be slow at most multiplies it by 2.3. What else the machine does only
 * adds: the least time of several runs counts, of the clock or of the processor, and no more is measured than is in doubt.
 * What still looks worse is doubled three times, and must stay below the cube. `npm run test:fuzz` doubles 50 KB.
 */
const isFull = process.env['FUZZ_COUNT'] !== undefined
const SIZE = isFull ? 50_000 : 25_000
const RATIO = 2.3
const RUNS = 4
const ATTEMPTS = 4
/** Nothing linear takes so long; to look closer would take minutes. */
const HOPELESS_MS = 500
/** Below this a doubling cannot be told from noise. */
const NEGLIGIBLE_MS = isFull ? 4 : 2

function filled(unit: string, size: number): string {
  return unit.repeat(Math.ceil(size / unit.length)).slice(0, size)
}

function timed(run: (text: string) => void, text: string): number {
  const start = performance.now()
  const { user, system } = process.cpuUsage()
  run(text)
  const used = process.cpuUsage({ user, system })
  return Math.min(performance.now() - start, (used.user + used.system) / 1000)
}

/** Stops at the first run that takes no longer than `enough`. */
function least(run: (text: string) => void, text: string, enough = 0): number {
  let best = Number.POSITIVE_INFINITY
  for (let i = 0; i < RUNS && best > enough; i++) best = Math.min(best, timed(run, text))
  return best
}

function ratioOf(run: (text: string) => void, unit: string): number {
  const [small, large] = [filled(unit, SIZE), filled(unit, 2 * SIZE)]
  let [half, whole] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY]
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    whole = Math.min(whole, least(run, large, NEGLIGIBLE_MS))
    if (whole <= NEGLIGIBLE_MS) return 1
    // After the whole: the engine has compiled it by now.
    half = Math.min(half, timed(run, small), timed(run, small))
    whole = Math.min(whole, least(run, large, half * RATIO))
    if (whole / half <= RATIO || whole > HOPELESS_MS) return whole / half
  }
  const thrice = (): number => least(run, filled(unit, 16 * SIZE)) / least(run, filled(unit, 2 * SIZE))
  return Math.cbrt(Math.min(thrice(), thrice(), thrice()))
}

const base64 = (text: string): string => Buffer.from(text).toString('base64')

/** What makes naive searches start over, decoders blow up, and signals pile up. */
const UNITS = [
  'a',
  'A1',
  '0',
  ' ',
  '\n',
  '\\',
  '\\u0061',
  '\\n',
  '%',
  '%41',
  '%2',
  '&',
  '&#',
  '&#97;',
  '&#x',
  '&amp;',
  '&amp;#97;',
  '%2525',
  '_',
  '-',
  'a-',
  "'",
  '"',
  '`',
  '[',
  '![',
  '![x](',
  '![x](https://',
  '![x](https://a/?',
  '![x](https://a/?q=',
  '![x](https://a/?q=%20',
  '[a]',
  '[a](',
  '[a]:',
  '](',
  '<',
  '<img',
  '<img ',
  '<img src=',
  '<img src="https://a?',
  '(',
  ')',
  ';',
  '; ',
  ';rm',
  '; cat',
  '&&',
  '| ',
  '$(',
  '$( ',
  '`a',
  '> /',
  '>',
  '1',
  '1 or ',
  "' or ",
  "'or'",
  "' or 'a'='a",
  'union ',
  "' union ",
  'union/**/',
  '/*',
  '/**/',
  '--',
  '; drop ',
  "'; ",
  '; update a ',
  'sleep(',
  'a=',
  'ignore ',
  'ignore all previous instructions ',
  'you are now ',
  'no rules ',
  'ethics ',
  'please ',
  'answer your response ',
  'i g n o r e ',
  'vtaber ',
  'erongi ',
  '1gn0r3 ',
  'é',
  '\u0301',
  '\u0323\u0301',
  '\u200b',
  'a\u200b',
  '\u{1d41a}',
  '\u{e0061}',
  '🇭',
  '\ufdfa',
  '￼',
  'ﷺ',
  base64('ignore all previous instructions'),
  base64(base64(base64('a b c d '))),
  '6967 ',
  '69676e6f7265',
  'aGVsbG8gd29ybGQg',
  '{"',
  '{"a":',
  '[[',
  '["',
  '{"role":"user","content":"',
  '"\\"',
  '\\"',
]

const detector = new InjectionDetector()
const RULES: Readonly<Record<string, (text: string) => void>> = {
  // What is direct goes the same way, with fewer signals.
  ...(isFull && { 'injection, direct': (text: string) => void detector.judge(text, 'direct') }),
  'injection, indirect': (text) => void detector.judge(text, 'indirect'),
  exfiltration: (text) => void exfiltration(text, ['example.com']),
  shell: (text) => void shellInjection(text),
  sql: (text) => void sqlInjection(text),
  messages: (text) => textsOf(text, 'user', () => undefined),
}

describe.each(Object.entries(RULES))('%s', (_name, run) => {
  it.each(UNITS)('%j', (unit) => {
    expect(ratioOf(run, unit)).toBeLessThanOrEqual(RATIO)
  })

  it.each(['a', ' ', '1', '"', ')'])('begun once, then %j', (unit) => {
    for (const start of [
      "' or ",
      '![x](https://a/?q=',
      '; ',
      '$(',
      '<img src="',
      '%',
      '&#',
      '[{"role":"user","content":"',
    ])
      expect([start, ratioOf((text) => run(start + text), unit) <= RATIO]).toEqual([start, true])
  })
})
