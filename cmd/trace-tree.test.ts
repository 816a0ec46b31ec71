import { describe, expect, it } from 'vitest'
import { traceTree, type TraceSpan } from './trace-tree.ts'

let clock = 0n
const span = (id: string, parent = '', startNs = ++clock): TraceSpan => ({
  id,
  parent,
  startNs,
  durationNs: 1n,
})
const drawn = (spans: readonly TraceSpan[]) =>
  traceTree(spans).map(
    ({ guide, span: { id }, note }) => `${guide}${id}${note === undefined ? '' : ` (${note})`}`,
  )

describe('traceTree', () => {
  it('draws children under their parents, by start', () => {
    const spans = [
      span('r', '', 1n),
      span('b', 'r', 3n),
      span('a', 'r', 2n),
      span('aa', 'a', 4n),
      span('bb', 'b', 5n),
    ]
    expect(drawn(spans)).toEqual(['r', '├─ a', '│  └─ aa', '└─ b', '   └─ bb'])
  })

  it('makes a root of a span whose parent is not there', () => {
    expect(drawn([span('r'), span('x', 'gone'), span('y', 'x')])).toEqual(['r', 'x (parent missing)', '└─ y'])
  })

  it('opens circles, and a span that is its own parent', () => {
    expect(drawn([span('a', 'c'), span('b', 'a'), span('c', 'b')])).toEqual(['a (circle)', '└─ b', '   └─ c'])
    expect(drawn([span('self', 'self')])).toEqual(['self (circle)'])
  })

  it('shows double ids once each', () => {
    expect(drawn([span('r'), span('d', 'r'), span('d', 'r'), span('k', 'd')])).toEqual([
      'r',
      '├─ d',
      '│  └─ k',
      '└─ d',
    ])
  })

  it('shows every span of 10,000: many roots, one parent, one chain', () => {
    const many = Array.from({ length: 10_000 }, (_, i) => i)
    const roots = many.map((i) => span(`r${i}`))
    const flat = many.map((i) => span(`f${i}`, i === 0 ? '' : 'f0'))
    const chain = many.map((i) => span(`c${i}`, i === 0 ? '' : `c${i - 1}`))
    for (const spans of [roots, flat, chain]) {
      const lines = traceTree(spans)
      expect(new Set(lines.map((line) => line.span)).size).toBe(10_000)
      expect(Math.max(...lines.map(({ guide }) => guide.length))).toBeLessThan(100)
    }
    expect(traceTree(chain).at(-1)?.guide).toContain('[9999]')
  })
})
