/**
 * What weir knows of each span's meaning, one column per field, `rows` long (row = the batch's row, dropped ones included).
 * Filled by `pipeline/genai` (mapping, tokens) and by the cost processor (cost); written by exporters as typed columns
 * (contract section 6). '' and 0 mean absent.
 */
export interface SpanFacts {
  readonly rows: number
  readonly runId: string[]
  readonly seq: Uint32Array
  readonly sessionId: string[]
  readonly userId: string[]
  readonly agentName: string[]
  readonly toolName: string[]
  /** chat, embeddings, execute_tool, invoke_agent, …; '' for a span that is not of an agent. */
  readonly operation: string[]
  readonly provider: string[]
  readonly requestModel: string[]
  readonly responseModel: string[]
  readonly priceModel: string[]
  readonly serviceTier: string[]
  readonly finishReason: string[]
  /** True for spans that carry their own model call (LLM, embedding): only these have tokens and cost. */
  readonly leaf: Uint8Array
  /** Disjoint token buckets; row-major, `TOKEN_BUCKETS` wide: `tokens[row * TOKENS.length + TOKENS.indexOf(bucket)]`. */
  readonly tokens: Uint32Array
  /** inclusive | exclusive | disjoint | inferred | none. */
  readonly usageSemantics: string[]
  /** Units of 1e-12 USD; row-major, `COSTS` wide. */
  readonly cost: BigInt64Array
  /** Units of 1e-12 USD; -1: the sender gave none. */
  readonly costProvided: BigInt64Array
  /** Index into COST_STATUS. */
  readonly costStatus: Uint8Array
  /** Why no cost could be computed (unpriced, or only the sender's own cost is known); '' otherwise. */
  readonly costReason: string[]
  readonly priceVersion: string[]
  readonly timeToFirstTokenMs: Float64Array
  /** 1 unless sampling says otherwise. */
  readonly sampleRate: Float64Array
  /** What a price also depends on and no column holds, by row; only rows that have such. */
  readonly priceHints: Map<number, PriceHints>
}

export interface PriceHints {
  /** Where the request was processed, where that has its own price: `us`, `eu`; '' otherwise. */
  readonly geo: string
  /** A provider's fast mode. */
  readonly fast: boolean
}

export const TOKENS = [
  'InputTokens',
  'CacheReadTokens',
  'CacheWriteTokens',
  'CacheWrite1hTokens',
  'AudioInputTokens',
  'ImageInputTokens',
  'OutputTokens',
  'ReasoningTokens',
  'AudioOutputTokens',
  'ImageOutputTokens',
] as const

/** `CostUsd` is the total; the others are its parts. */
export const COSTS = [
  'CostUsd',
  'CostInputUsd',
  'CostCacheReadUsd',
  'CostCacheWriteUsd',
  'CostOutputUsd',
] as const

export const COST_STATUS = ['none', 'computed', 'provided', 'unpriced'] as const

/** Facts of `rows` spans of which nothing is known. */
export function emptyFacts(rows: number): SpanFacts {
  return {
    rows,
    runId: blanks(rows),
    seq: new Uint32Array(rows),
    sessionId: blanks(rows),
    userId: blanks(rows),
    agentName: blanks(rows),
    toolName: blanks(rows),
    operation: blanks(rows),
    provider: blanks(rows),
    requestModel: blanks(rows),
    responseModel: blanks(rows),
    priceModel: blanks(rows),
    serviceTier: blanks(rows),
    finishReason: blanks(rows),
    leaf: new Uint8Array(rows),
    tokens: new Uint32Array(rows * TOKENS.length),
    usageSemantics: blanks(rows),
    cost: new BigInt64Array(rows * COSTS.length),
    costProvided: new BigInt64Array(rows).fill(-1n),
    costStatus: new Uint8Array(rows),
    costReason: blanks(rows),
    priceVersion: blanks(rows),
    timeToFirstTokenMs: new Float64Array(rows),
    sampleRate: new Float64Array(rows).fill(1),
    priceHints: new Map(),
  }
}

function blanks(rows: number): string[] {
  return Array<string>(rows).fill('')
}
