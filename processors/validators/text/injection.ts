import { readFileSync } from 'node:fs'
import { hidesText } from './canonical.ts'
import type { Lexicon } from './lexicon.ts'
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

/** Bytes that are scanned at once, and how much of the end of a piece is seen again with the next. */
const PIECE = 65_536
const OVERLAP = 2_048
/** What a signal counts for, by how often it was met. */
const VALUES = Float64Array.of(0, 1, 1.5, 1.8, 1.8, 2)

export function valueOf(count: number): number {
  return VALUES[count] ?? 2
}

/** The signals of one origin with their weights; what was found last stays until the next text. */
class Judge {
  readonly threshold: number
  readonly #matcher: Matcher
  readonly #weights: Float64Array
  readonly #counts: Uint16Array
  score = 0
  /** The strongest window's hits. */
  #from = 0
  #end = 0
  readonly #window = (from: number, end: number): void => {
    const { hits } = this.#matcher
    let sum = 0
    for (let i = from; i < end; i++) {
      const signal = hits[i]!
      const count = this.#counts[signal]!++
      sum += this.#weights[signal]! * (valueOf(count + 1) - valueOf(count))
    }
    for (let i = from; i < end; i++) this.#counts[hits[i]!] = 0
    if (sum <= this.score) return
    this.score = sum
    this.#from = from
    this.#end = end
  }

  constructor(signals: readonly Signal[], { threshold, weights }: Model, lexicon: Lexicon) {
    const used = signals.filter(({ id }) => (weights[id] ?? 0) > 0)
    this.threshold = threshold
    this.#matcher = new Matcher(used, lexicon)
    this.#weights = Float64Array.from(used, ({ id }) => weights[id]!)
    this.#counts = new Uint16Array(used.length)
  }

  judge(words: Words): boolean {
    this.score = 0
    this.#matcher.match(words)
    this.#matcher.eachWindow(this.#window)
    return this.score >= this.threshold
  }

  /** The group of signals that speaks most. */
  rule(): string {
    const sums = new Map<string, number>()
    for (const signal of new Set(this.#matcher.hits.subarray(this.#from, this.#end))) {
      const { rule } = this.#matcher.signals[signal]!
      sums.set(rule, (sums.get(rule) ?? 0) + this.#weights[signal]!)
    }
    return Array.from(sums).reduce((best, entry) => (entry[1] > best[1] ? entry : best))[0]
  }
}

/** Judges texts as attempts to give a model instructions. Not to be used by two at once: it keeps its scratch memory. */
export class InjectionDetector {
  readonly #words = new Words()
  readonly #judges: Readonly<Record<Origin, Judge>>

  constructor() {
    const url = new URL('./weights.json', import.meta.url)
    const models = JSON.parse(readFileSync(url, 'utf8')) as Record<Origin, Model>
    this.#judges = {
      direct: new Judge(DIRECT, models.direct, this.#words.lexicon),
      indirect: new Judge(ALL, models.indirect, this.#words.lexicon),
    }
  }

  /** False only when `judge` would find nothing in these bytes of UTF-8, however they are cut: one pass, no allocation. */
  mayHold(bytes: Uint8Array, from: number, end: number, origin: Origin | 'any'): boolean {
    if (end - from > PIECE) return true
    this.#words.scan(bytes, from, end)
    if (this.#words.marks !== 0) return true
    const { direct, indirect } = this.#judges
    if (origin !== 'indirect' && direct.judge(this.#words)) return true
    return origin !== 'direct' && indirect.judge(this.#words)
  }

  /** The strongest finding at or above the threshold. */
  judge(text: string, origin: Origin): Injection | undefined {
    let best: Injection | undefined
    for (let at = 0; at < text.length; at += PIECE - OVERLAP) {
      best = stronger(best, this.#layers(text.slice(at, at + PIECE), origin))
      if (at + PIECE >= text.length) break
    }
    return best
  }

  /** Itself and what it hides, the less deep first: a text that hides everything everywhere is unpacked in part. */
  #layers(piece: string, origin: Origin): Injection | undefined {
    const judge = this.#judges[origin]
    const queue = [{ text: piece, hidden: '', depth: 0 }]
    const seen = new Set(['', piece])
    let budget = mostUnpacked(piece)
    let best: Injection | undefined
    for (const { text, hidden, depth } of queue) {
      const bytes = Buffer.from(text)
      this.#words.scan(bytes, 0, bytes.length)
      const { marks } = this.#words
      if (judge.judge(this.#words))
        best = stronger(best, { rule: judge.rule(), score: judge.score / judge.threshold, hidden })
      if (budget <= 0) continue
      for (const layer of layersOf(text, marks, depth)) {
        const found = layer.text.slice(0, budget)
        if (seen.has(found)) continue
        seen.add(found)
        budget -= found.length
        queue.push({ text: found, hidden: hiddenBy(hidden, layer, text), depth: depth + 1 })
      }
    }
    return best
  }
}

/** Characters that are unpacked of a piece, over all its layers. */
function mostUnpacked(piece: string): number {
  return Math.min(262_144, 8 * piece.length + 2048)
}

function stronger(a: Injection | undefined, b: Injection | undefined): Injection | undefined {
  return b !== undefined && b.score > (a?.score ?? 0) ? b : a
}

/** Accents and typographic quotes hide nothing; other layers do. */
function hiddenBy(hidden: string, { how }: Layer, text: string): string {
  if (how === 'unicode' && !hidesText(text)) return hidden
  return hidden === '' ? how : `${hidden}+${how}`
}
