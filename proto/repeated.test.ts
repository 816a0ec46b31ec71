import { describe, expect, it } from 'vitest'
import { Repeated } from './repeated.ts'

function read(words: Repeated, text: string, before = ''): string {
  const source = Buffer.from(before + text)
  const start = Buffer.byteLength(before)
  return words.text(source, start, source.length - start)
}

describe('repeated values', () => {
  it('reads every value as it is written, however many share a slot', () => {
    const words = new Repeated()
    const texts = Array.from({ length: 5000 }, (_, i) => `value-${i}`)
    for (let round = 0; round < 2; round++) {
      expect(texts.map((text) => read(words, text))).toEqual(texts)
    }
  })

  it('tells values apart that begin alike or end alike', () => {
    const words = new Repeated()
    for (const text of [
      'gpt-4o',
      'gpt-4o-mini',
      'o-mini',
      '',
      'ä',
      'äö',
      'é'.repeat(32),
      'x'.repeat(64),
      'x'.repeat(65),
    ]) {
      expect(read(words, text, 'before')).toBe(text)
      expect(read(words, text)).toBe(text)
    }
  })

  it('keeps its own copy of the bytes', () => {
    const words = new Repeated()
    const source = Buffer.from('claude')
    expect(words.text(source, 0, 6)).toBe('claude')
    source.write('gemini')
    expect(words.text(source, 0, 6)).toBe('gemini')
    expect(read(words, 'claude')).toBe('claude')
  })
})
