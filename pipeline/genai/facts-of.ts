import { NONE, type Batch } from '../batch/batch.ts'
import { emptyFacts, TOKENS, type SpanFacts } from '../batch/facts.ts'
import { keyId, type KeyId } from '../batch/keys.ts'
import { otOf, probabilityOf } from '../sampling/trace-state.ts'
import { scaled, USD_DIGITS } from './decimal.ts'
import { finishOfChoice, firstEventMs } from './events.ts'
import { SLOT } from './fields.ts'
import { own, parseObject } from './json.ts'
import { isLeaf, operationOf } from './kind.ts'
import type { Payload } from './payload.ts'
import { providerName, providerOfModel } from './provider.ts'
import { resolveUsage } from './resolve.ts'
import { Scan } from './scan.ts'
import { splitUsage } from './usage.ts'

/**
 * What the spans of a batch mean, from their attributes as received (additions by `set` are not seen); computed once
 * and kept in `batch.facts`. Malformed values count as absent: they never cost a span. Deterministic; costs are left
 * to the cost processor, except the cost that a sender gave.
 */
export function factsOf(batch: Batch): SpanFacts {
  if (batch.facts !== undefined) return batch.facts
  const facts = emptyFacts(batch.rows)
  const scan = new Scan()
  for (let row = 0; row < batch.rows; row++) {
    if (!batch.isLive(row)) continue
    const state = batch.traceState(row)
    if (state !== '') facts.sampleRate[row] = rateOf(state)
    if (scan.read(batch, row)) fill(facts, scan, batch, row)
  }
  batch.facts = facts
  return facts
}

/** How many spans this one stands for, by what samplers before us have written into the tracestate. */
function rateOf(traceState: string): number {
  const { threshold } = otOf(traceState)
  return threshold === undefined ? 1 : 1 / probabilityOf(threshold)
}

function fill(facts: SpanFacts, scan: Scan, batch: Batch, row: number): void {
  const operation = operationOf(scan)
  facts.operation[row] = operation
  facts.runId[row] = scan.id(SLOT.runId)
  facts.seq[row] = scan.count(SLOT.seq)
  facts.sessionId[row] = scan.id(SLOT.session)
  facts.userId[row] = scan.id(SLOT.user)
  facts.toolName[row] = toolName(scan, operation)
  facts.agentName[row] = agentName(scan, operation)
  if (operation === '') return
  fromResource(facts, batch, row)
  facts.requestModel[row] = scan.text(SLOT.requestModel) || genkitModel(scan)
  facts.responseModel[row] = scan.text(SLOT.responseModel)
  facts.provider[row] = providerOf(facts, scan, row)
  facts.usageSemantics[row] = 'none'
  if (!isLeaf(scan, operation)) return
  facts.leaf[row] = 1
  fillCall(facts, scan, batch, row)
}

/** What only a model call has. */
function fillCall(facts: SpanFacts, scan: Scan, batch: Batch, row: number): void {
  const resolved = resolveUsage(scan, batch, row, facts.provider[row] ?? '')
  if (resolved !== undefined) {
    const cut = splitUsage(resolved.usage, facts.tokens, row * TOKENS.length)
    facts.usageSemantics[row] = cut ? 'inferred' : resolved.semantics
  }
  facts.responseModel[row] ||= facts.requestModel[row] ?? ''
  facts.finishReason[row] = finishReason(scan.text(SLOT.finishReason)) || finishOfChoice(batch, row)
  facts.serviceTier[row] = serviceTier(scan, resolved?.payload)
  facts.timeToFirstTokenMs[row] = firstTokenMs(scan, batch, row)
  facts.costProvided[row] = providedCost(scan)
  hint(facts, scan, row, resolved?.payload)
}

const SESSION = keyId('session.id')
const USER = keyId('user.id')
const AGENT = keyId('gen_ai.agent.name')

/** Some programs say who they are once, on the resource. */
function fromResource(facts: SpanFacts, batch: Batch, row: number): void {
  if (facts.sessionId[row] === '') facts.sessionId[row] = resourceText(batch, row, SESSION)
  if (facts.userId[row] === '') facts.userId[row] = resourceText(batch, row, USER)
  if (facts.agentName[row] === '') facts.agentName[row] = resourceText(batch, row, AGENT)
}

function resourceText(batch: Batch, row: number, key: KeyId): string {
  const ref = batch.resourceAttr(row, key)
  return ref === NONE ? '' : batch.text(ref)
}

function agentName(scan: Scan, operation: string): string {
  const name = scan.text(SLOT.agent)
  if (name !== '') return name
  return operation === 'invoke_agent' ? scan.text(SLOT.entityName) : ''
}

function toolName(scan: Scan, operation: string): string {
  const name = scan.text(SLOT.tool)
  if (name !== '') return name
  return operation === 'execute_tool' ? scan.text(SLOT.entityName) : ''
}

/** Genkit writes `provider/model` into the action's name. */
function genkitModel(scan: Scan): string {
  return scan.has(SLOT.genkitSubtype) && scan.text(SLOT.genkitSubtype) === 'model'
    ? scan.text(SLOT.genkitName)
    : ''
}

function providerOf(facts: SpanFacts, scan: Scan, row: number): string {
  const named = scan.has(SLOT.provider) ? providerName(scan.text(SLOT.provider)) : ''
  if (named !== '') return named
  const byResponse = providerOfModel(facts.responseModel[row] ?? '')
  return byResponse !== '' ? byResponse : providerOfModel(facts.requestModel[row] ?? '')
}

/** OpenInference keeps what the call was made with as JSON. */
function tierAsked(scan: Scan): string {
  if (!scan.has(SLOT.parameters)) return ''
  const text = scan.text(SLOT.parameters)
  const tier = text.includes('"service_tier"') ? own(parseObject(text), 'service_tier') : undefined
  return typeof tier === 'string' ? tier : ''
}

/** The first of a list, however the list came: an array, its JSON, or plain text. */
function finishReason(text: string): string {
  if (!text.startsWith('[')) return text
  try {
    const list: unknown = JSON.parse(text)
    const head: unknown = Array.isArray(list) ? list[0] : undefined
    return typeof head === 'string' ? head : ''
  } catch {
    return text
  }
}

/** standard, batch, flex, priority, …; '' when the span does not say. */
function serviceTier(scan: Scan, payload: Payload | undefined): string {
  if (scan.has(SLOT.batch) && scan.text(SLOT.batch) === 'true') return 'batch'
  const tier = (scan.text(SLOT.serviceTier) || payload?.serviceTier || tierAsked(scan)).toLowerCase()
  return tier === 'auto' || tier === 'default' || tier === 'on_demand' ? 'standard' : tier
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

/** OpenAI's regional endpoints and Anthropic's geography and fast mode have prices of their own. */
function hint(facts: SpanFacts, scan: Scan, row: number, payload: Payload | undefined): void {
  const server = scan.has(SLOT.server)
    ? /^(us|eu)\.api\.openai\.com$/.exec(scan.text(SLOT.server))?.[1]
    : undefined
  const named = (scan.has(SLOT.geo) ? scan.text(SLOT.geo) : (payload?.geo ?? '')).toLowerCase()
  const geo = server ?? (named === 'us' || named === 'eu' ? named : '')
  const fast = payload?.fast ?? false
  if (geo !== '' || fast) facts.priceHints.set(row, { geo, fast })
}
