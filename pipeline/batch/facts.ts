import { POOL } from '../../proto/buffer-pool.ts'
import { IdColumn, TextColumn } from './fact-columns.ts'

/**
 * What weir knows of each span's meaning, one column per field, `rows` long (row = the batch's row, dropped ones included).
 * Filled by `pipeline/genai` (mapping, tokens) and by the cost processor (cost); written by exporters as typed columns
 * (contract section 6). '' and 0 mean absent.
 */
export interface SpanFacts {
  readonly rows: number
  readonly runId: IdColumn
  readonly seq: Uint32Array
  readonly sessionId: IdColumn
  readonly userId: IdColumn
  readonly agentName: TextColumn
  readonly toolName: TextColumn
  /** chat, embeddings, execute_tool, invoke_agent, …; '' for a span that is not of an agent. */
  readonly operation: TextColumn
  readonly provider: TextColumn
  readonly requestModel: TextColumn
  readonly responseModel: TextColumn
  readonly priceModel: TextColumn
  readonly serviceTier: TextColumn
  readonly finishReason: TextColumn
  /** True for spans that carry their own model call (LLM, embedding): only these have tokens and cost. */
  readonly leaf: Uint8Array
  /** Disjoint token buckets; row-major, `TOKEN_BUCKETS` wide: `tokens[row * TOKENS.length + TOKENS.indexOf(bucket)]`. */
  readonly tokens: Uint32Array
  /** inclusive | exclusive | disjoint | inferred | none. */
  readonly usageSemantics: TextColumn
  /** Units of 1e-12 USD; row-major, `COSTS` wide. */
  readonly cost: BigInt64Array
  /** Units of 1e-12 USD; -1: the sender gave none. */
  readonly costProvided: BigInt64Array
  /** Index into COST_STATUS. */
  readonly costStatus: Uint8Array
  /** Why no cost could be computed (unpriced, or only the sender's own cost is known); '' otherwise. */
  readonly costReason: TextColumn
  readonly priceVersion: TextColumn
  readonly timeToFirstTokenMs: Float64Array
  /** 1 unless sampling says otherwise. */
  readonly sampleRate: Float64Array
  /** What a price also depends on and no column holds, by row; only rows that have such. */
  readonly priceHints: Map<number, PriceHints>
  /** Of the pool: what the columns lie in. Undefined: they have memory of their own. */
  readonly memory: ArrayBuffer | undefined
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

/** Facts of `rows` spans of which nothing is known. `bytes`: where their ids lie. */
export function emptyFacts(rows: number, bytes?: Buffer): SpanFacts {
  const memory = new Memory(rows)
  return {
    rows,
    cost: memory.amounts(COSTS.length),
    costProvided: memory.amounts(1).fill(-1n),
    timeToFirstTokenMs: memory.floats(),
    sampleRate: memory.floats().fill(1),
    tokens: memory.words(TOKENS.length),
    seq: memory.words(1),
    runId: memory.ids(bytes),
    sessionId: memory.ids(bytes),
    userId: memory.ids(bytes),
    agentName: memory.texts(),
    toolName: memory.texts(),
    operation: memory.texts(),
    provider: memory.texts(),
    requestModel: memory.texts(),
    responseModel: memory.texts(),
    priceModel: memory.texts(),
    serviceTier: memory.texts(),
    finishReason: memory.texts(),
    usageSemantics: memory.texts(),
    costReason: memory.texts(),
    priceVersion: memory.texts(),
    leaf: memory.bytes(),
    costStatus: memory.bytes(),
    priceHints: new Map(),
    memory: memory.buffer,
  }
}

/** Bytes of a row in `Memory`, wide columns first. */
const ROW = (COSTS.length + 1 + 2) * 8 + (TOKENS.length + 1 + 3 * 2 + 12) * 4 + 2

/** Columns side by side: one allocation instead of thirty, each of which V8 makes outside of its heap. */
class Memory {
  readonly buffer: ArrayBuffer
  readonly #rows: number
  #used = 0

  constructor(rows: number) {
    this.#rows = rows
    this.buffer = POOL.take(rows * ROW)
    new Uint8Array(this.buffer).fill(0)
  }

  amounts(width: number): BigInt64Array {
    return new BigInt64Array(this.buffer, this.#take(width * 8), this.#rows * width)
  }

  floats(): Float64Array {
    return new Float64Array(this.buffer, this.#take(8), this.#rows)
  }

  words(width: number): Uint32Array {
    return new Uint32Array(this.buffer, this.#take(width * 4), this.#rows * width)
  }

  bytes(): Uint8Array {
    return new Uint8Array(this.buffer, this.#take(1), this.#rows)
  }

  texts(): TextColumn {
    return new TextColumn(this.#rows, [''], this.words(1))
  }

  ids(bytes: Buffer | undefined): IdColumn {
    const rows = this.#rows
    const starts = new Int32Array(this.buffer, this.#take(4), rows)
    return new IdColumn(rows, bytes, [], starts, new Int32Array(this.buffer, this.#take(4), rows))
  }

  #take(width: number): number {
    const at = this.#used
    this.#used += this.#rows * width
    return at
  }
}
