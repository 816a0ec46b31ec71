import { markKeys } from '../../proto/otlp/scan.ts'
import { halfOf, SIGNATURE } from '../../proto/otlp/signatures.ts'
import type { SpanTable } from '../../proto/otlp/table.ts'
import { KEYS } from '../batch/keys.ts'
import { MARKS } from './fields.ts'
import type { Shape } from './shape.ts'
import type { Words } from './words.ts'

/** What is known of all spans with one signature. */
export interface Alike {
  readonly signature: number
  readonly shape: Shape
  /** Undefined until somebody asked. */
  words: Words | undefined
}

const SLOTS = 4096

/** The newest of those that share a slot. */
const known = Array<Alike | undefined>(SLOTS).fill(undefined)

/** Of the ids that are known; they come again one half later. */
let half = 0

function forgetOthers(signature: number): void {
  if (halfOf(signature) === half) return
  half = halfOf(signature)
  known.fill(undefined)
}

let isMarked = false

/** From now on scans tell spans apart by what means something here. */
export function markSources(): void {
  if (!isMarked) markKeys(KEYS, MARKS)
  isMarked = true
}

/** 0: the span was not told apart from others. */
export function signatureOf(table: SpanTable, row: number): number {
  return table.signatures[row * SIGNATURE.width + SIGNATURE.id] ?? 0
}

export function alikeOf(signature: number): Alike | undefined {
  forgetOthers(signature)
  const alike = known[signature & (SLOTS - 1)]
  return alike?.signature === signature ? alike : undefined
}

export function remember(signature: number, shape: Shape): Alike {
  forgetOthers(signature)
  const alike: Alike = { signature, shape, words: undefined }
  known[signature & (SLOTS - 1)] = alike
  return alike
}
