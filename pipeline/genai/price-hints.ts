import type { PriceHints } from '../batch/facts.ts'

const FAST = 'fast'

/** As stores keep them: the words of what applies, `us fast`; '' for none. */
export function hintText(hints: PriceHints | undefined): string {
  if (hints === undefined) return ''
  return [hints.geo, hints.fast ? FAST : ''].filter((word) => word !== '').join(' ')
}

/** The inverse; undefined for none. */
export function hintsOf(text: string): PriceHints | undefined {
  if (text === '') return undefined
  const words = text.split(' ')
  return { geo: words.find((word) => word !== FAST) ?? '', fast: words.includes(FAST) }
}
