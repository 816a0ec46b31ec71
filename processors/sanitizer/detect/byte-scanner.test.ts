import { spawnSync } from 'node:child_process'
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { PlainScanner, WasmScanner, type ScanTables } from './byte-scanner.ts'
import { FEATURE, Features } from './features.ts'

/** The tables of a sanitizer's prefilter, as it hands them to the scanners. */
function tables(): ScanTables {
  const features = new Features(['password', 'q~', 'a3-', 'ghp_', 'ard n'])
  return features.tables
}

test('scan.wasm is what scan.wat says (npm run wasm)', () => {
  const { status, stderr } = spawnSync(process.execPath, ['scripts/wasm.mjs', '--check'], {
    encoding: 'utf8',
  })
  expect([status, stderr]).toEqual([0, ''])
})

/** Texts of the kinds that the counters and the words tell apart, cut anywhere. */
const text = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        'password',
        'PassWord',
        'q~',
        ' a3-',
        'GHP_',
        '4111 1111',
        '0a:1b:2c',
        '@',
        '....',
        '\n',
      ),
      fc.string({ unit: 'binary', maxLength: 20 }),
      fc.stringMatching(/^[0-9 .()-]{0,30}$/),
      fc.stringMatching(/^[A-Za-z0-9+/=]{0,40}$/),
    ),
    { maxLength: 12 },
  )
  .map((parts) => Buffer.from(parts.join('')))

test('both scanners say the same of any bytes, wherever a value begins and ends', () => {
  const plain = new PlainScanner(tables())
  const wasm = new WasmScanner(tables())
  fc.assert(
    fc.property(text, fc.nat(), fc.nat(), (bytes, a, b) => {
      const [start, end] = [a % (bytes.length + 1), b % (bytes.length + 1)].toSorted((x, y) => x - y) as [
        number,
        number,
      ]
      plain.over(bytes)
      wasm.over(bytes)
      expect(wasm.features(start, end)).toBe(plain.features(start, end))
      expect(wasm.digit(start, end)).toBe(plain.digit(start, end))
    }),
    { numRuns: 2000 },
  )
})

test('texts beyond what is copied, and texts after a larger one, are read right', () => {
  const scan = new Features(['password']).over
  const large = Buffer.alloc(WasmScanner.MOST + 1, 'x')
  large.write('1234567', large.length - 7)
  expect(scan(large).features(0, large.length) & FEATURE.digits).not.toBe(0)
  const grown = Buffer.alloc(300_000, ' ')
  grown.write('4111111111111111', 299_000)
  expect(scan(grown).digit(0, grown.length)).toBe(299_000)
  // What a longer text left behind this one is not part of it.
  const short = Buffer.from('no number ')
  expect(scan(short).digit(0, short.length)).toBe(short.length)
  expect(scan(short).features(0, short.length)).toBe(0)
})
