import { readFileSync } from 'node:fs'
import { hidesText } from './canonical.ts'
import { maskOf } from './lexicon.ts'
import { Matcher } from './matcher.ts'
import { ALL, DIRECT, type Signal } from './signals.ts'
import { layersOf, type Layer } from './unpack.ts'
import { Words } from './words.ts'

/** Whose words a text is: the user's own, or what a tool or a document brought in. */
export type Origin = 'direct' | 'indirect'

export interface Injection {
  /** What speaks most for it: a group of signals. */
  readonly rule: string
  /** 1 is the threshold. */
  readonly score: number
  /** How it was hidden; '' when it stood in the open. */
  readonly hidden: string
}

/** Weights of signals, fitted by scripts/injection.mjs. */
interface Model {
  readonly threshold: number
  readonly weights: Readonly<Record<string, number>>
}

interface Judge {
  readonly matcher: Matcher
  readonly weights: Float64Array
  readonly threshold: number
}

/** Bytes that are scanned at once, and how much of the end of a piece is seen again with the next. */
const PIECE = 65_536
const OVERLAP = 2_048
const VEILED = maskOf(['veiled'])
/** What a signal counts for, by how often it was met. */
const VALUES = [0, 1, 1.5, 1.8, 1.8, 2] as const

function value(count: number): number {
  return VALUES[count] ?? 2
}

/** Judges texts as attempts to give a model instructions. Not to be used by two at once: it keeps its scratch memory. */
export class InjectionDetector {
  readonly #words = new Words()
  readonly #judges: Readonly<Record<Origin, Judge>>

  constructor() {
    const models = JSON.parse(readFileSync(new URL('./weights.json', import.meta.url), 'utf8')) as Record<Origin, Model>
    this.#judges = { direct: judge(DIRECT, models.direct), indirect: judge(ALL, models.indirect) }
  }

  /** False only when no part of these bytes of UTF-8 could be found to be an attack; one pass, no allocation. */
  mayHold(bytes: Uint8Array, from: number, end: number, origin: Origin): boolean {
    this.#words.scan(bytes, from, end)
    return this.#words.marks !== 0 || this.#isVeiled() || isEnough(this.#judges[origin], this.#words)
  }

  /** The strongest finding at or above the threshold. */
  judge(text: string, origin: Origin): Injection | undefined {
    let best: Injection | undefined
    for (let at = 0; at < text.length; at += PIECE - OVERLAP) {
      const found = this.#layers(text.slice(at, at + PIECE), origin, '', 0)
      if (found !== undefined && found.score > (best?.score ?? 0)) best = found
      if (at + PIECE >= text.length) break
    }
    return best
  }

  #layers(text: string, origin: Origin, hidden: string, depth: number): Injection | undefined {
    let best = this.#open(text, origin, hidden)
    const { marks } = this.#words
    for (const layer of layersOf(text, marks, this.#isVeiled(), depth)) {
      const found = this.#layers(layer.text, origin, hiddenBy(hidden, layer, text), depth + 1)
      if (found !== undefined && found.score > (best?.score ?? 0)) best = found
    }
    return best
  }

  /** The text as it stands; leaves `#words` as scanned. */
  #open(text: string, origin: Origin, hidden: string): Injection | undefined {
    const bytes = Buffer.from(text)
    this.#words.scan(bytes, 0, bytes.length)
    const { matcher, weights, threshold } = this.#judges[origin]
    if (!isEnough(this.#judges[origin], this.#words)) return undefined
    let score = 0
    let rule = ''
    matcher.match(this.#words, (counts) => {
      let sum = 0
      for (let i = 0; i < counts.length; i++) sum += weights[i]! * value(counts[i]!)
      if (sum <= score) return
      score = sum
      rule = strongest(matcher.signals, weights, counts)
    })
    return score < threshold ? undefined : { rule, score: score / threshold, hidden }
  }

  #isVeiled(): boolean {
    return (this.#words.seenHigh & VEILED.high) !== 0 || (this.#words.seenLow & VEILED.low) !== 0
  }
}

function judge(signals: readonly Signal[], { threshold, weights }: Model): Judge {
  const used = signals.filter(({ id }) => (weights[id] ?? 0) > 0)
  return { matcher: new Matcher(used), weights: Float64Array.from(used, ({ id }) => weights[id]!), threshold }
}

/** Whether the words met could make up a score at all. */
function isEnough({ matcher, weights, threshold }: Judge, words: Words): boolean {
  let most = 0
  const { seenLow, seenHigh } = words
  const { needsLow, needsHigh } = matcher
  for (let i = 0; i < weights.length; i++) {
    if ((seenLow & needsLow[i]!) === needsLow[i]! && (seenHigh & needsHigh[i]!) === needsHigh[i]!) most += weights[i]! * 2
  }
  return most >= threshold
}

function strongest(signals: readonly Signal[], weights: Float64Array, counts: Uint16Array): string {
  const sums = new Map<string, number>()
  signals.forEach(({ rule }, i) => sums.set(rule, (sums.get(rule) ?? 0) + weights[i]! * value(counts[i]!)))
  return Array.from(sums).reduce((best, entry) => (entry[1] > best[1] ? entry : best))[0]
}

/** Accents and typographic quotes hide nothing; other layers do. */
function hiddenBy(hidden: string, { how }: Layer, text: string): string {
  if (how === 'unicode' && !hidesText(text)) return hidden
  return hidden === '' ? how : `${hidden}+${how}`
}
