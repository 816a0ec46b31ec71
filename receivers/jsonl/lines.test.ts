import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { lastLineEnd, lineEnd, type Newline } from './lines.ts'
import { BufferPool, RangeReader } from './range-reader.ts'
import type { Source } from './source.ts'

const ENCODINGS: Readonly<Record<string, { newline: Newline; encode: (text: string) => Buffer }>> = {
  'utf-8': { newline: { width: 1, low: 0 }, encode: (text) => Buffer.from(text) },
  'utf-16le': { newline: { width: 2, low: 0 }, encode: (text) => Buffer.from(text, 'utf16le') },
  'utf-16be': { newline: { width: 2, low: 1 }, encode: (text) => Buffer.from(text, 'utf16le').swap16() },
}

function linesIn(bytes: Buffer, newline: Newline): Buffer[] {
  const found: Buffer[] = []
  for (let from = 0; from < bytes.length;) {
    const end = lineEnd(bytes, from, bytes.length, newline)
    const to = end < 0 ? bytes.length : end
    found.push(Buffer.from(bytes.subarray(from, to)))
    from = to
  }
  return found
}

/** A file of which more becomes visible with every look. */
class Growing implements Source {
  readonly #bytes: Buffer
  visible = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  read(position: number, into: Buffer): Promise<number> {
    return Promise.resolve(this.#bytes.copy(into, 0, position, Math.max(position, this.visible)))
  }

  size(): Promise<number> {
    return Promise.resolve(this.visible)
  }

  close(): Promise<void> {
    return Promise.resolve()
  }
}

describe.each(Object.entries(ENCODINGS))('lines of %s', (_, { newline, encode }) => {
  // U+010A and U+0A0A have the byte of a newline in them.
  const line = fc.string({ unit: fc.constantFrom('a', '\u010a', '\u0a0a', '\u0a01') })

  it('are cut alike however the file grows and whatever the buffer holds', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(line, { maxLength: 30 }),
        fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 20 }),
        fc.integer({ min: 4, max: 64 }),
        fc.integer({ min: 8, max: 40 }),
        async (texts, steps, chunk, maxLine) => {
          const whole = encode(texts.map((text) => `${text}\n`).join(''))
          const source = new Growing(whole)
          const reader = new RangeReader(source, new BufferPool(chunk), maxLine, newline)
          const found: Buffer[] = []
          let position = 0
          for (let step = 0; position < whole.length; step++) {
            source.visible = Math.min(whole.length, source.visible + (steps[step % steps.length] ?? 1))
            const next = await reader.next(position, false)
            if (next.what === 'lines') found.push(...linesIn(next.bytes, newline))
            if (next.what === 'too_long') found.push(whole.subarray(position, position + next.length))
            if (next.what === 'lines') position += next.bytes.length
            if (next.what === 'too_long') position += next.length
            if (step % 3 === 0) reader.release()
          }
          expect(found).toEqual(linesIn(whole, newline))
        },
      ),
      { numRuns: 300 },
    )
  })

  it('end where the last newline is', () => {
    fc.assert(
      fc.property(fc.array(line, { maxLength: 10 }), line, (texts, rest) => {
        const whole = encode(texts.map((text) => `${text}\n`).join(''))
        const bytes = Buffer.concat([whole, encode(rest)])
        expect(lastLineEnd(bytes, 0, bytes.length, newline)).toBe(whole.length)
      }),
    )
  })
})
