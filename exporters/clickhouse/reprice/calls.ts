import { COST_STATUS, COSTS, TOKENS, emptyFacts } from '../../../pipeline/batch/facts.ts'
import { hintsOf } from '../../../pipeline/genai/price-hints.ts'
import type { StoredCalls } from '../../../pipeline/reprice.ts'
import type { Params } from '../connection.ts'
import type { Target } from '../target.ts'

/** A row of the answer to `selectCalls`, in the order of COLUMNS: numbers, texts, and 64-bit integers as text. */
export type CallRow = readonly (string | number)[]

/** Names a row where it is read and where it is rewritten. As text: an index on pairs of integers cannot be asked one by one. */
export const ROW_KEY = 'hex(sipHash128(EventId, WalSeq, WalRow))'

const TEXTS = [
  'TenantId',
  'Provider',
  'RequestModel',
  'ResponseModel',
  'ServiceTier',
  'PriceHints',
  'CostStatus',
  'CostReason',
  'PriceModel',
  'PriceVersion',
] as const

/** Units of 1e-12 USD, exactly. */
const units = (column: string) => `reinterpretAsInt64(${column})`

const COLUMNS: readonly (readonly [name: string, sql: string])[] = [
  ['Key', ROW_KEY],
  ['Ms', 'toUnixTimestamp64Milli(Timestamp)'],
  ['Partition', '_partition_id'],
  ...TEXTS.map((name) => [name, name] as const),
  ...TOKENS.map((name) => [name, name] as const),
  ...COSTS.map((name) => [name, units(name)] as const),
  ['CostProvidedUsd', units('ifNull(CostProvidedUsd, toDecimal64(-1, 12))')],
]

/** column → its place in a CallRow. */
export const AT = Object.fromEntries(COLUMNS.map(([name], index) => [name, index])) as Readonly<
  Record<
    | 'Key'
    | 'Ms'
    | 'Partition'
    | (typeof TEXTS)[number]
    | (typeof TOKENS)[number]
    | (typeof COSTS)[number]
    | 'CostProvidedUsd',
    number
  >
>

/** Some of a table's model calls. */
export interface Slice {
  /** Started in [fromMs, toMs). */
  readonly fromMs: number
  readonly toMs: number
  /** Of so many calls in one second only every `parts`-th is read at a time. */
  readonly parts: number
  readonly part: number
}

/** `FROM … WHERE …` of the calls in a span of time; `callParams` binds it. */
export function fromCalls(target: Target, tenant: string | undefined): string {
  return (
    `FROM ${target.traces} WHERE ModelCall = 1 AND Timestamp >= fromUnixTimestamp64Milli({from:Int64}) ` +
    `AND Timestamp < fromUnixTimestamp64Milli({to:Int64})${tenant === undefined ? '' : ' AND TenantId = {tenant:String}'}`
  )
}

export function callParams(fromMs: number, toMs: number, tenant: string | undefined): Params {
  return { from: fromMs, to: toMs, ...(tenant === undefined ? {} : { tenant }) }
}

export function selectCalls(target: Target, tenant: string | undefined, { parts }: Slice): string {
  const columns = COLUMNS.map(([name, sql]) => `${sql} AS \`${name}_\``).join(', ')
  const share = parts === 1 ? '' : ' AND cityHash64(EventId) % {parts:UInt32} = {part:UInt32}'
  return `SELECT ${columns} ${fromCalls(target, tenant)}${share}`
}

/** The calls as they were when they were priced; the cost columns are empty. */
export function storedCalls(rows: readonly CallRow[]): StoredCalls {
  const facts = emptyFacts(rows.length)
  const tenants: string[] = []
  const startMs = new Float64Array(rows.length)
  facts.leaf.fill(1)
  for (const [row, call] of rows.entries()) {
    startMs[row] = Number(call[AT.Ms])
    tenants.push(call[AT.TenantId] as string)
    facts.provider.set(row, call[AT.Provider] as string)
    facts.requestModel.set(row, call[AT.RequestModel] as string)
    facts.responseModel.set(row, call[AT.ResponseModel] as string)
    facts.serviceTier.set(row, call[AT.ServiceTier] as string)
    facts.costProvided[row] = BigInt(call[AT.CostProvidedUsd] ?? -1)
    const hints = hintsOf(call[AT.PriceHints] as string)
    if (hints !== undefined) facts.priceHints.set(row, hints)
    for (let bucket = 0; bucket < TOKENS.length; bucket++) {
      facts.tokens[row * TOKENS.length + bucket] = call[AT.InputTokens + bucket] as number
    }
  }
  return { facts, tenants, startMs }
}

/** Whether the row as it is stored says something else than `calls` does after pricing. */
export function differs(call: CallRow, { facts }: StoredCalls, row: number): boolean {
  if (call[AT.PriceVersion] !== facts.priceVersion.at(row)) return true
  if (call[AT.PriceModel] !== facts.priceModel.at(row)) return true
  if (call[AT.CostStatus] !== COST_STATUS[facts.costStatus[row] ?? 0]) return true
  if (call[AT.CostReason] !== facts.costReason.at(row)) return true
  for (let part = 0; part < COSTS.length; part++) {
    if (String(call[AT.CostUsd + part]) !== String(facts.cost[row * COSTS.length + part])) return true
  }
  return false
}
