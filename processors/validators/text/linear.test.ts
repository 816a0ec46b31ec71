import { describe, expect, it } from 'vitest'
import { textsOf } from '../prompt-injection/messages.ts'
import { exfiltration } from './exfiltration.ts'
import { InjectionDetector } from './injection.ts'
import { shellInjection } from './shell.ts'
import { sqlInjection } from './sql.ts'
import { isFull, RATIO, ratioOf } from '../../../test/support/linear-time.ts'

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
