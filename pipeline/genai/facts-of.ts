import { NONE, type Batch } from '../batch/batch.ts'
import type { IdColumn, TextColumn } from '../batch/fact-columns.ts'
import { emptyFacts, TOKENS, type SpanFacts } from '../batch/facts.ts'
import { asReceived } from '../batch/raw.ts'
import { keyId, type KeyId } from '../batch/keys.ts'
import { otOf, probabilityOf } from '../sampling/trace-state.ts'
import { markSources } from './alike.ts'
import { scaled, USD_DIGITS } from './decimal.ts'
import { finishOfChoice, firstEventMs } from './events.ts'
import { SLOT } from './fields.ts'
import { own, parseObject } from './json.ts'
import type { Payload } from './payload.ts'
import { resolveUsage } from './resolve.ts'
import { Scan } from './scan.ts'
import { splitUsage } from './usage.ts'
import { tierName, wordsOf, type Words } from './words.ts'

/**
 * What the spans of a batch mean, from their attributes as received (additions by `set` are not seen); computed once
 * and kept in `batch.facts`. Malformed values count as absent: they never cost a span. Deterministic; costs are left
 * to the cost processor, except the cost that a sender gave.
 */
export function factsOf(batch: Batch): SpanFacts {
  if (batch.facts !== undefined) return batch.facts
  markSources()
  const facts = emptyFacts(batch.rows, asReceived(batch)?.bytes)
  const filler = new Filler(facts, scan, batch)
  for (let row = 0; row < batch.rows; row++) {
    if (!batch.isLive(row)) continue
    const state = batch.traceState(row)
    if (state !== '') facts.sampleRate[row] = rateOf(state)
    if (scan.read(batch, row)) filler.fill(row)
  }
  batch.facts = facts
  return facts
}

/** For one batch after another. */
const scan = new Scan()

/** How many spans this one stands for, by what samplers before us have written into the tracestate. */
function rateOf(traceState: string): number {
  const { threshold } = otOf(traceState)
  return threshold === undefined ? 1 : 1 / probabilityOf(threshold)
}

const SESSION = keyId('session.id')
const USER = keyId('user.id')
const AGENT = keyId('gen_ai.agent.name')

/** Puts the span that was read last into its row. */
class Filler {
  readonly #facts: SpanFacts
  readonly #scan: Scan
  readonly #batch: Batch
  readonly #dictionary: Dictionary

  constructor(facts: SpanFacts, scan: Scan, batch: Batch) {
    this.#facts = facts
    this.#scan = scan
    this.#batch = batch
    this.#dictionary = new Dictionary(facts)
  }

  fill(row: number): void {
    const facts = this.#facts
    const scan = this.#scan
    const words = wordsOf(scan)
    this.#dictionary.put(words, row)
    scan.putId(SLOT.runId, facts.runId, row)
    scan.putId(SLOT.session, facts.sessionId, row)
    scan.putId(SLOT.user, facts.userId, row)
    facts.seq[row] = scan.count(SLOT.seq)
    if (words.operation === '') return
    this.#fromResource(words, row)
    if (words.leaf) this.#fillCall(words, row)
    else facts.usageSemantics.set(row, 'none')
  }

  /** What only a model call has. */
  #fillCall(words: Words, row: number): void {
    const facts = this.#facts
    const scan = this.#scan
    const batch = this.#batch
    facts.leaf[row] = 1
    const resolved = resolveUsage(scan, batch, row, words.provider)
    let semantics = 'none'
    if (resolved !== undefined) {
      const cut = splitUsage(resolved.usage, facts.tokens, row * TOKENS.length)
      semantics = cut ? 'inferred' : resolved.semantics
    }
    facts.usageSemantics.set(row, semantics)
    if (words.finishReason === '') facts.finishReason.set(row, finishOfChoice(batch, row))
    if (words.serviceTier === '') {
      facts.serviceTier.set(row, tierName(resolved?.payload?.serviceTier || tierAsked(scan)))
    }
    facts.timeToFirstTokenMs[row] = firstTokenMs(scan, batch, row)
    if (hasCost(scan)) facts.costProvided[row] = providedCost(scan)
    hint(facts, words, row, resolved?.payload)
  }

  /** Some programs say who they are once, on the resource. */
  #fromResource({ agentName }: Words, row: number): void {
    const { sessionId, userId } = this.#facts
    if (sessionId.isEmpty(row)) this.#putId(SESSION, sessionId, row)
    if (userId.isEmpty(row)) this.#putId(USER, userId, row)
    if (agentName !== '') return
    const ref = this.#batch.resourceAttr(row, AGENT)
    if (ref !== NONE) this.#facts.agentName.set(row, this.#batch.text(ref))
  }

  #putId(key: KeyId, ids: IdColumn, row: number): void {
    const ref = this.#batch.resourceAttr(row, key)
    if (ref !== NONE) this.#scan.putText(ref, ids, row)
  }
}

/** The words of a batch's spans into their columns: each combination is looked up in the dictionaries once. */
class Dictionary {
  readonly #columns: readonly TextColumn[]
  readonly #indexes: readonly Uint32Array[]
  readonly #known = new Map<Words, Uint32Array>()
  #lastWords: Words | undefined
  #last: Uint32Array = new Uint32Array(0)

  constructor(facts: SpanFacts) {
    this.#columns = COLUMNS.map((name) => facts[name])
    this.#indexes = this.#columns.map(({ indexes }) => indexes)
  }

  put(words: Words, row: number): void {
    if (words !== this.#lastWords) {
      this.#lastWords = words
      this.#last = this.#known.get(words) ?? this.#add(words)
    }
    const indexes = this.#last
    for (let i = 0; i < indexes.length; i++) this.#indexes[i]![row] = indexes[i]!
  }

  #add(words: Words): Uint32Array {
    const indexes = Uint32Array.from(this.#columns, (column, i) => column.indexOf(words[COLUMNS[i]!]))
    this.#known.set(words, indexes)
    return indexes
  }
}

const COLUMNS = [
  'operation',
  'toolName',
  'agentName',
  'provider',
  'requestModel',
  'responseModel',
  'finishReason',
  'serviceTier',
] as const

/** OpenInference keeps what the call was made with as JSON. */
function tierAsked(scan: Scan): string {
  if (!scan.has(SLOT.parameters)) return ''
  const text = scan.text(SLOT.parameters)
  const tier = text.includes('"service_tier"') ? own(parseObject(text), 'service_tier') : undefined
  return typeof tier === 'string' ? tier : ''
}

function firstTokenMs(scan: Scan, batch: Batch, row: number): number {
  if (scan.has(SLOT.firstChunkSeconds)) return scan.number(SLOT.firstChunkSeconds) * 1000
  if (scan.has(SLOT.firstChunkMs)) return scan.number(SLOT.firstChunkMs)
  if (!scan.has(SLOT.firstToken)) return firstEventMs(batch, row)
  const at = Date.parse(scan.text(SLOT.firstToken).replaceAll('"', ''))
  const delay = at - batch.startMs(row)
  return delay > 0 ? delay : 0
}

/** The cost that the sender gave, in units of 1e-12 USD; −1 when none. */
function providedCost(scan: Scan): bigint {
  const details = scan.has(SLOT.langfuseCost) ? parseObject(scan.text(SLOT.langfuseCost)) : undefined
  if (details !== undefined) {
    const whole = money(own(details, 'total'))
    if (whole >= 0n) return whole
    const parts = Object.values(details)
      .map(money)
      .filter((part) => part >= 0n)
    if (parts.length > 0) return sumOf(parts)
  }
  const whole = scan.has(SLOT.cost) ? money(scan.text(SLOT.cost)) : -1n
  if (whole >= 0n) return whole
  if (!scan.has(SLOT.inputCost) && !scan.has(SLOT.outputCost)) return -1n
  const sides = [SLOT.inputCost, SLOT.outputCost].map((slot) => money(scan.text(slot)))
  const known = sides.filter((side) => side >= 0n)
  return known.length === 0 ? -1n : sumOf(known)
}

/** −1 where the column cannot hold it. */
function sumOf(parts: readonly bigint[]): bigint {
  const sum = parts.reduce((before, part) => before + part, 0n)
  return sum < MAX_USD ? sum : -1n
}

/** What Decimal(18,12) can hold. */
const MAX_USD = 10n ** 18n

function money(value: unknown): bigint {
  if (typeof value !== 'number' && typeof value !== 'string') return -1n
  const units = scaled(String(value), USD_DIGITS)
  return units === undefined || units < 0n || units >= MAX_USD ? -1n : units
}

function hasCost(scan: Scan): boolean {
  return (
    scan.has(SLOT.cost) ||
    scan.has(SLOT.langfuseCost) ||
    scan.has(SLOT.inputCost) ||
    scan.has(SLOT.outputCost)
  )
}

/** OpenAI's regional endpoints and Anthropic's geography and fast mode have prices of their own. */
function hint(facts: SpanFacts, words: Words, row: number, payload: Payload | undefined): void {
  if (words.endpoint === undefined && words.geo === undefined && payload === undefined) return
  const named = words.geo ?? (payload?.geo ?? '').toLowerCase()
  const geo = words.endpoint ?? (named === 'us' || named === 'eu' ? named : '')
  const fast = payload?.fast ?? false
  if (geo !== '' || fast) facts.priceHints.set(row, { geo, fast })
}
