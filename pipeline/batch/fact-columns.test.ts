import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { IdColumn, TextColumn } from './fact-columns.ts'

const words = fc.array(
  fc.tuple(fc.nat({ max: 19 }), fc.constantFrom(...Array.from('abcdefghijklmnopq'), '')),
  {
    maxLength: 60,
  },
)

test('a text column holds what was set last, however many different texts there are, and so do its copies', () => {
  fc.assert(
    fc.property(words, words, (sets, later) => {
      const column = new TextColumn(20)
      const plain = Array<string>(20).fill('')
      for (const [row, text] of sets) {
        column.set(row, text)
        plain[row] = text
      }
      const picked = column.pick([3, 1, 3])
      for (const [row, text] of later) picked.set(row % 3, text)
      expect(plain.map((_, row) => column.at(row))).toEqual(plain)
      const wanted = [plain[3], plain[1], plain[3]]
      for (const [row, text] of later) wanted[row % 3] = text
      expect(wanted.map((_, row) => picked.at(row))).toEqual(wanted)
      expect(new Set(column.texts).size).toBe(column.texts.length)
      expect([column.at(20), column.texts[0]]).toEqual(['', ''])
    }),
  )
})

test('ids come back and are copied as they were placed or set; what is no UTF-8 is replaced', () => {
  const source = Buffer.from('xxuser-1xäyzé')
  const ids = new IdColumn(6, source)
  ids.place(0, 2, 6)
  ids.place(1, 8, 3)
  ids.set(2, 'set')
  ids.place(3, 10, 1)
  ids.set(4, 'gone')
  ids.set(4, '')
  const texts = ['user-1', 'xä', 'set', '\ufffd', '', '']
  expect(texts.map((_, row) => ids.at(row))).toEqual(texts)
  expect(texts.map((_, row) => ids.isEmpty(row))).toEqual([false, false, false, false, true, true])
  const rows = [5, 3, 1, 0, 2]
  expect(rows.map((_, row) => ids.pick(rows).at(row))).toEqual(rows.map((row) => texts[row]))
  const copied: string[] = []
  ids.copyTo(
    {
      addAscii: (view, start, size) => {
        const bytes = Buffer.from(view.buffer, view.byteOffset + start, size)
        const isAscii = bytes.every((byte) => byte < 0x80)
        if (isAscii) copied.push(bytes.toString())
        return isAscii
      },
      addText: (text) => copied.push(text),
    },
    Int32Array.from(rows),
  )
  expect(copied).toEqual(rows.map((row) => texts[row]))
})

test('a copy of an id column is its own', () => {
  const ids = new IdColumn(2)
  ids.set(0, 'a')
  const copy = ids.pick([0, 1])
  copy.set(1, 'b')
  ids.set(1, 'c')
  expect([ids.at(0), ids.at(1), copy.at(0), copy.at(1)]).toEqual(['a', 'c', 'a', 'b'])
})
