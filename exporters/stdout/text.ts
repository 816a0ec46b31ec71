import { COSTS, COST_STATUS, TOKENS, type SpanFacts } from '../../pipeline/batch/facts.ts'
import type { AttrRange, AttrRef, Batch } from '../../pipeline/batch/batch.ts'
import { usdText } from '../../pipeline/genai/decimal.ts'
import { safeText } from '../../pipeline/telemetry/safe-text.ts'

export type Verbosity = 'basic' | 'normal' | 'detailed'

/** The live spans of a batch for people. Data never breaks a line or reaches the terminal's controls. */
export function* textLines(batch: Batch, verbosity: Verbosity, colour: boolean): Generator<string> {
  const { tenant, source, receivedAtMs } = batch.meta
  yield `${new Date(receivedAtMs).toISOString()}  traces  spans=${batch.live} tenant=${tenant} source=${safeText(source)}`
  if (verbosity === 'basic') return
  for (let row = 0; row < batch.rows; row++) {
    if (!batch.isLive(row)) continue
    yield paint(`  ${spanLine(batch, row)}`, batch.statusCode(row), colour)
    if (verbosity === 'detailed') yield* details(batch, row)
  }
}

const STATUS = ['unset', 'ok', 'error']
const KIND = ['unspecified', 'internal', 'server', 'client', 'producer', 'consumer']

function spanLine(batch: Batch, row: number): string {
  const parts = [
    safeText(batch.name(row)),
    `trace=${hex(batch.traceId(row))}`,
    `span=${hex(batch.spanId(row))}`,
    `${(Number(batch.durationNs(row)) / 1e6).toFixed(3)}ms`,
    STATUS[batch.statusCode(row)] ?? String(batch.statusCode(row)),
    ...(batch.facts === undefined ? [] : meaning(batch.facts, row)),
  ]
  const message = batch.statusMessage(row)
  return `${parts.join('  ')}${message === '' ? '' : `  ${JSON.stringify(safeText(message))}`}`
}

/** Model, tokens and cost of a model call. */
function meaning(facts: SpanFacts, row: number): string[] {
  if (facts.leaf[row] !== 1) return []
  const buckets = TOKENS.map((name, index) => [name, facts.tokens[row * TOKENS.length + index] ?? 0] as const)
  const tokens = buckets.filter(([, count]) => count > 0).map(([name, count]) => `${name}=${count}`)
  const status = COST_STATUS[facts.costStatus[row] ?? 0] ?? 'none'
  const cost =
    status === 'unpriced'
      ? `unpriced (${facts.costReason.at(row)})`
      : `$${usdText(facts.cost[row * COSTS.length] ?? 0n)}`
  const model = facts.priceModel.at(row) || facts.responseModel.at(row) || facts.requestModel.at(row) || ''
  return [`model=${model}`, ...tokens, cost].map(safeText)
}

function* details(batch: Batch, row: number): Generator<string> {
  const parent = hex(batch.parentSpanId(row))
  yield `    kind=${KIND[batch.kind(row)] ?? batch.kind(row)}${parent === '' ? '' : ` parent=${parent}`} start=${batch.startNs(row)} end=${batch.endNs(row)}`
  yield* attributes(batch, batch.attrs(row, 'resource'), '    resource  ')
  const scope = [batch.scopeName(row), batch.scopeVersion(row)].filter((text) => text !== '').join(' ')
  if (scope !== '') yield `    scope     ${safeText(scope)}`
  yield* attributes(batch, batch.attrs(row, 'span'), '    ')
  const events = batch.events(row)
  for (let event = events.first; event < events.end; event++) {
    yield `    event     ${safeText(batch.eventName(event))} at=${batch.eventTimeNs(event)}`
    yield* attributes(batch, batch.eventAttrs(event), '      ')
  }
  const links = batch.links(row)
  for (let link = links.first; link < links.end; link++) {
    yield `    link      trace=${hex(batch.linkTraceId(link))} span=${hex(batch.linkSpanId(link))}`
    yield* attributes(batch, batch.linkAttrs(link), '      ')
  }
}

function* attributes(batch: Batch, range: AttrRange, lead: string): Generator<string> {
  for (let ref = range.first; ref < range.end; ref++) {
    yield `${lead}${safeText(batch.key(ref as AttrRef))} = ${safeText(batch.text(ref as AttrRef))}`
  }
}

function paint(line: string, statusCode: number, colour: boolean): string {
  if (!colour || statusCode === 0) return line
  return `\u001b[${statusCode === 2 ? 31 : 32}m${line}\u001b[0m`
}

function hex(id: Uint8Array): string {
  return Buffer.from(id.buffer, id.byteOffset, id.byteLength).toString('hex')
}
