import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { encode } from '@toon-format/toon'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { faultOf } from '../fault.ts'
import { decodeToonText } from './toon-text.ts'

const LIMITS = { maxDepth: 64, maxLine: 1024 * 1024 }
const ARCHIVE = join(import.meta.dirname, '../../../shared/data/toon/conformance.tar.gz')

interface Case {
  readonly name: string
  readonly input: string
  readonly expected: unknown
  readonly shouldError?: boolean
  readonly options?: { readonly strict?: boolean; readonly indent?: number; readonly indentSize?: number }
}

/**
 * Not strict, the library (4.4.0) still refuses what spec section 6 takes for a literal key. weir decodes strictly,
 * where the specification refuses them, too.
 */
const REFUSED = ['foo[1][bar]: 10', 'key[]: 1,2', 'foo[bar][1]: 20', 'foo[2]extra: a,b']

/** The decoding fixtures of github.com/toon-format/spec. */
function fixtures(): Case[] {
  const folder = mkdtempSync(join(tmpdir(), 'weir-toon-spec-'))
  try {
    execFileSync('tar', ['-xzf', ARCHIVE, '-C', folder])
    const decode = join(folder, 'tests/fixtures/decode')
    return readdirSync(decode).flatMap((file) => {
      const { tests } = JSON.parse(readFileSync(join(decode, file), 'utf8')) as { tests: Case[] }
      return tests.map((test) => ({ ...test, name: `${file}: ${test.name}` }))
    })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

describe.skipIf(!existsSync(ARCHIVE))('the official fixtures', () => {
  const cases = existsSync(ARCHIVE) ? fixtures() : []

  it('are there', () => {
    expect(cases.length).toBeGreaterThan(100)
  })

  it.each(cases)('$name', async ({ input, expected, shouldError, options = {} }) => {
    const { strict = true, indent, indentSize = indent ?? 2 } = options
    const decoded = decodeToonText(input, { ...LIMITS, strict, indentSize })
    if (shouldError === true || REFUSED.includes(input))
      await expect(decoded).rejects.toMatchObject({ code: 'BATCH_MALFORMED' })
    else expect(JSON.stringify(await decoded)).toBe(JSON.stringify(expected))
  })
})

describe('decoding TOON', () => {
  it('gives back what the encoder wrote', async () => {
    const values = fc.jsonValue({ maxDepth: 5 }).filter((value) => !JSON.stringify(value).includes('\\ud'))
    await fc.assert(
      fc.asyncProperty(values, async (value) => {
        const plain = JSON.parse(JSON.stringify(value)) as unknown
        expect(await decodeToonText(encode(plain), LIMITS)).toEqual(plain)
      }),
      { numRuns: 300 },
    )
  })

  it('keeps a key of __proto__ as data', async () => {
    const value = (await decodeToonText('__proto__:\n  x: 1', LIMITS)) as object
    expect(Object.keys(value)).toEqual(['__proto__'])
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype)
  })

  it.each([
    ['too deep', Array.from({ length: 70 }, (_, at) => `${'  '.repeat(at)}a:`).join('\n')],
    ['a line too long', `a: ${'x'.repeat(LIMITS.maxLine)}`],
    ['too many blank lines', '\n'.repeat(2000)],
    ['a wrong length', 'a[3]: 1,2'],
    ['an open string', 'a: "secret'],
  ])('refuses %s, without quoting it', async (_, text) => {
    const error: unknown = await decodeToonText(text, LIMITS).catch((thrown: unknown) => thrown)
    expect(faultOf(error)).toMatchObject({ code: 'BATCH_MALFORMED' })
    expect(String(error)).not.toContain('secret')
  })

  it('lets others have their turn while it works on much', async () => {
    const text = `a[60000]{x,y}:\n${'  1,2\n'.repeat(60_000)}`.trimEnd()
    let turns = 0
    let done = false
    const decoded = decodeToonText(text, LIMITS).finally(() => (done = true))
    const tick = () => {
      turns++
      if (!done) setImmediate(tick)
    }
    setImmediate(tick)
    expect(((await decoded) as { a: unknown[] }).a).toHaveLength(60_000)
    expect(turns).toBeGreaterThan(5)
  })
})
