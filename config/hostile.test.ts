import { array, assert, constantFrom, oneof, property, string } from 'fast-check'
import { describe, expect, it } from 'vitest'
import { around, errorsOf, load } from '../test/support/config-files.ts'

/** Texts made to hurt: each must end in one clear error, in bounded work. Run in a child they would also show a crash. */
const deep = (open: string, close = ''): string => open.repeat(50_000) + close.repeat(50_000)

describe('hostile YAML', () => {
  it.each([
    ['flow lists', `a: ${deep('[')}`, 'a.yaml:1:67: nested more than 64 levels deep'],
    ['closed flow maps', deep('{a: ', '}'), 'a.yaml:1:257: nested more than 64 levels deep'],
    ['block lists', deep('- '), /^a\.yaml:1:\d+: nested more than 64 levels deep$/],
    ['explicit keys', deep('? '), /^a\.yaml:1:\d+: nested more than 64 levels deep$/],
    [
      'indentation',
      Array.from({ length: 1000 }, (_, level) => `${' '.repeat(level)}a:`).join('\n'),
      /^a\.yaml:6\d:\d+: nested more than 64 levels deep$/,
    ],
    [
      'tokens',
      'a,'.repeat(400_000),
      /^a\.yaml:1:1: not valid YAML|more than 300000 YAML tokens|a config is a map/,
    ],
    [
      'keys',
      Array.from({ length: 100_000 }, (_, key) => `k${key}: 1`).join('\n'),
      /more than 300000 YAML tokens$/,
    ],
    [
      'documents',
      '---\n'.repeat(100_000),
      'a.yaml:2:1: one file holds one YAML document; a second one starts here',
    ],
  ])('ends on too many or too deep %s', (_, text, expected) => {
    const errors = errorsOf({ files: { 'a.yaml': text } })
    expect(errors).toEqual([typeof expected === 'string' ? expected : expect.stringMatching(expected)])
  })

  it('ends on an alias bomb', () => {
    const levels = Array.from(
      { length: 12 },
      (_, level) =>
        `l${level + 1}: &l${level + 1} [${Array.from({ length: 9 }, () => `*l${level}`).join(', ')}]`,
    )
    const text = `l0: &l0 [x, x]\n${levels.join('\n')}\n`
    expect(errorsOf({ files: { 'a.yaml': text } })).toEqual([
      expect.stringMatching(/^a\.yaml:\d+:\d+: more than 50 aliases, those inside of aliases included$/),
    ])
  })

  it('ends on an alias that holds itself, and names an alias without an anchor', () => {
    expect(errorsOf({ files: { 'a.yaml': 'a: &a [*a]\n' } })).toEqual([
      'a.yaml:1:8: more than 50 aliases, those inside of aliases included',
    ])
    expect(errorsOf({ files: { 'a.yaml': 'a: *b\n' } })).toHaveLength(1)
  })

  it('refuses keys that are no data: __proto__, merges, duplicates, nulls, maps, giants', () => {
    const text = `__proto__: { receivers: {} }
<<: { a: 1 }
a: 1
a: 2
? { b: 1 }
: 1
~: 1
? ${'k'.repeat(2000)}
: 1
`
    expect(errorsOf({ files: { 'a.yaml': text } })).toEqual([
      'a.yaml:1:1: "__proto__" cannot be a key',
      'a.yaml:2:1: merge keys (<<) are not supported; put shared parts into a second --config',
      'a.yaml:4:1: duplicate key "a"; it stands first in line 3',
      'a.yaml:5:3: a key must be plain text',
      'a.yaml:7:1: a key must be plain text',
      'a.yaml:8:3: a key is longer than 1024 characters',
    ])
    expect(({} as Record<string, unknown>)['receivers']).toBeUndefined()
  })

  it('takes the names of object members for what they are: unknown', () => {
    const text = around('  store: { constructor: 1, toString: 2, hasOwnProperty: 3 }')
    expect(errorsOf({ files: { 'a.yaml': text } })).toEqual([
      expect.stringContaining('exporters.store.constructor: unknown key "constructor"'),
      expect.stringContaining('exporters.store.toString: unknown key "toString"'),
      expect.stringContaining('exporters.store.hasOwnProperty: unknown key "hasOwnProperty"'),
    ])
    expect(
      errorsOf({ files: { 'a.yaml': 'constructor: {}\nexporters: { toString: }\nservice: 1\n' } }),
    ).toEqual([
      expect.stringMatching(/^a\.yaml:1:1 constructor: unknown section "constructor"/),
      expect.stringMatching(/^a\.yaml:2:14 exporters\.toString: unknown exporter type "toString"/),
      'a.yaml:3:10 service: must be a map, got a number (1)',
    ])
  })

  it('refuses tags, infinities and broken syntax with one line each', () => {
    expect(errorsOf({ files: { 'a.yaml': 'a: !js/function "x"\n' } })).toEqual([
      expect.stringMatching(/^a\.yaml:1:4: YAML tags are not supported: /),
    ])
    expect(errorsOf({ files: { 'a.yaml': 'a: .inf\nb: .nan\n' } })).toEqual([
      'a.yaml:1:4: .inf is not a finite number',
      'a.yaml:2:4: .nan is not a finite number',
    ])
    expect(errorsOf({ files: { 'a.yaml': 'a: { b: ${env:X} }\nc: [\n' } })).toEqual([
      expect.stringMatching(
        /^a\.yaml:1:\d+: not valid YAML: .* \(inside \{ \} or \[ \] a reference needs quotes/,
      ),
    ])
  })

  it('cuts long names in messages', () => {
    const [error = ''] = errorsOf({ files: { 'a.yaml': around(`  store: { ${'k'.repeat(900)}: 1 }`) } })
    expect(error.length).toBeLessThan(1300)
  })
})

describe('any input', () => {
  const anyText = oneof(
    string({ unit: 'grapheme', maxLength: 200 }),
    string({ unit: constantFrom(...Array.from('{}[]:-?&*!|>\'"%@`#,\n \t$a1~<')), maxLength: 200 }),
  )

  it('gives errors of one line each, or a config, and never throws', () => {
    assert(
      property(anyText, array(anyText, { maxLength: 2 }), (text, sets) => {
        const result = load({ files: { 'a.yaml': text, 'b.yaml': around('  store: {}') }, sets })
        if (result.ok) return
        expect(result.errors.length).toBeGreaterThan(0)
        for (const error of result.errors) expect(error.message).not.toMatch(/[\r\n]/)
      }),
      { numRuns: 200 },
    )
  })

  it('holds for text in a value and in the environment, which comes through as it is', () => {
    assert(
      property(anyText, (text) => {
        const result = load({
          files: { 'a.yaml': around('  store: { username: "${env:X}" }') },
          env: { X: text },
        })
        expect(result.ok && result.config.exporters.get('store')?.value).toMatchObject({ username: text })
      }),
      { numRuns: 150 },
    )
  })
})
