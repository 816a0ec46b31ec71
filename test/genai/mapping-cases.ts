import { TOKENS, type SpanFacts } from '../../pipeline/batch/facts.ts'
import { factsOf } from '../../pipeline/genai/facts-of.ts'
import { Comparison, type Agreement, type Argued } from './agreement.ts'
import { batchOfJson, tokensOf } from './spans.ts'

/** `traces/otlp/mapping-cases.json`: OTLP requests, and what Langfuse makes of them. */
interface MappingCase {
  readonly test: string
  readonly resourceSpans: unknown
  readonly expect: readonly { readonly path: string; readonly op: string; readonly value?: unknown }[]
}

const READ = ['CacheReadTokens']
const WRITTEN = ['CacheWriteTokens', 'CacheWrite1hTokens']

/** Langfuse's usage keys ← weir's buckets. Theirs keep audio inside the output; the sums are equal. */
const USAGE: Readonly<Record<string, readonly string[]>> = {
  input: ['InputTokens'],
  output: ['OutputTokens', 'AudioOutputTokens'],
  input_audio_tokens: ['AudioInputTokens'],
  output_audio_tokens: ['AudioOutputTokens'],
  input_cached_tokens: READ,
  input_cache_read: READ,
  input_cache_creation: WRITTEN,
  input_cache_write: WRITTEN,
  input_cache_creation_5m: ['CacheWriteTokens'],
  input_cache_creation_1h: ['CacheWrite1hTokens'],
  reasoning_tokens: ['ReasoningTokens'],
  output_reasoning_tokens: ['ReasoningTokens'],
  total: [...TOKENS],
}

/** Langfuse's event types ← what a span is here. */
const TYPES: Readonly<Record<string, (facts: SpanFacts, row: number) => boolean>> = {
  'generation-create': (facts, row) => facts.leaf[row] === 1,
  'embedding-create': (facts, row) => facts.operation.at(row) === 'embeddings',
  'tool-create': (facts, row) => facts.operation.at(row) === 'execute_tool',
  'agent-create': (facts, row) => facts.operation.at(row) === 'invoke_agent',
  'chain-create': (facts, row) => facts.operation.at(row) === 'chain',
  'retriever-create': (facts, row) => facts.operation.at(row) === 'retrieval',
  'span-create': (facts, row) => facts.leaf[row] === 0,
}

export const ARGUED_CASES: Argued = {
  'should extract both 5m and 1h cache creation tokens from Anthropic provider metadata: usageDetails.input':
    'Anthropic’s raw input_tokens is 5000, equal to the reported input: without the cache. Langfuse subtracts it',
  'should handle Anthropic provider metadata without cache_creation sub-object (backward compatibility): usageDetails.input':
    'as above: raw input_tokens 10000 is without the cache',
}

/**
 * Tokens, kinds, models, tools, sessions and users; texts of messages stay attributes, and traces of Langfuse's are no
 * spans. Keys: `case: field`.
 */
export function compareMapping(text: string): Agreement {
  const comparison = new Comparison()
  for (const { test: name, resourceSpans, expect: wanted } of JSON.parse(text) as MappingCase[]) {
    const facts = readFacts(resourceSpans)
    if (facts === undefined) continue
    // Where it splits writes by lifetime, its `input_cache_creation` is what has none.
    const hasSplit = wanted.some(({ path }) => path.endsWith('input_cache_creation_5m'))
    for (const { path, op, value } of wanted) {
      if (hasSplit && path.endsWith('.input_cache_creation')) continue
      const [, subject = '', field = ''] = /^(\w+?)(?:s\[\d+\])?\.(?:body\.)?(.+)$/.exec(path) ?? []
      if (op === 'toBe') compareField(comparison, `${name}: ${field}`, { facts, subject, field, value })
    }
  }
  return comparison
}

interface Wanted {
  readonly facts: SpanFacts
  readonly subject: string
  readonly field: string
  readonly value: unknown
}

function compareField(comparison: Comparison, key: string, { facts, subject, field, value }: Wanted): void {
  const usage = /^usageDetails\.(\w+)$/.exec(field)?.[1]
  if (usage !== undefined) {
    const buckets = USAGE[usage]
    if (buckets !== undefined) comparison.add(key, bestOf(sums(facts, buckets), value), value)
  } else if (field === 'model') comparison.add(key, bestOf(textsOf(facts, 'responseModel'), value), value)
  else if (field === 'sessionId') comparison.add(key, bestOf(textsOf(facts, 'sessionId'), value), value)
  else if (field === 'userId') comparison.add(key, bestOf(textsOf(facts, 'userId'), value), value)
  else if (field === 'type' && typeof value === 'string' && value in TYPES) {
    const rows = Array.from({ length: facts.rows }, (_, row) => TYPES[value]?.(facts, row))
    comparison.add(key, rows.includes(true), true)
  } else if (field === 'name' && /tool/i.test(subject))
    comparison.add(key, bestOf(textsOf(facts, 'toolName'), value), value)
}

type Named = 'responseModel' | 'sessionId' | 'userId' | 'toolName'

function textsOf(facts: SpanFacts, name: Named): string[] {
  return Array.from({ length: facts.rows }, (_, row) => facts[name].at(row))
}

/** A case does not say which of its spans it means: the one that agrees, else the first. */
function bestOf(column: readonly unknown[], wanted: unknown): unknown {
  return column.includes(wanted) ? wanted : column[0]
}

function sums(facts: SpanFacts, buckets: readonly string[]): readonly number[] {
  return Array.from({ length: facts.rows }, (_, row) => {
    const tokens = tokensOf(facts, row)
    return buckets.reduce((sum, bucket) => sum + (tokens[bucket] ?? 0), 0)
  })
}

/** Malformed documents are the codec's to refuse; it has its own tests. */
function readFacts(resourceSpans: unknown): SpanFacts | undefined {
  try {
    return factsOf(batchOfJson({ resourceSpans: hexIds(resourceSpans) }))
  } catch {
    return undefined
  }
}

/** JavaScript's serialised Buffers, as some cases have ids, → hexadecimal, as OTLP/JSON has them. */
function hexIds(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(hexIds)
  if (typeof value !== 'object' || value === null) return value
  const { data } = value as { data?: unknown }
  if (Array.isArray(data)) return Buffer.from(data as number[]).toString('hex')
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, hexIds(each)]))
}
