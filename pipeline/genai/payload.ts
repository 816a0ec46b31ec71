import { asObject, child, countOf, own, type JsonObject } from './json.ts'
import { emptyUsage, type Usage } from './usage.ts'

/** What a provider's own answer says of one call: exact, since each provider's way of counting is known. */
export interface Payload {
  readonly usage: Usage
  /** `exclusive`: the payload's input left cached tokens out. */
  readonly semantics: 'inclusive' | 'exclusive'
  /** Anthropic `inference_geo`, where it costs more. */
  readonly geo: string
  /** Anthropic `speed: fast`. */
  readonly fast: boolean
  readonly serviceTier: string
}

/**
 * The usage in a provider's answer: OpenAI chat, responses, realtime, images and embeddings (and what imitates them:
 * Azure, xAI, DeepSeek, Groq, Mistral, OpenRouter …), Perplexity, Cloudflare, Anthropic, Gemini, Bedrock Converse,
 * Cohere, Cursor, Genkit.
 * Takes the whole answer or the usage object itself; undefined when it is none of these.
 */
export function usageOfPayload(answer: JsonObject): Payload | undefined {
  const usage =
    child(answer, 'usage') ??
    child(answer, 'usageMetadata') ??
    child(answer, 'usage_metadata') ??
    child(answer, 'response', 'usage') ??
    child(answer, 'result', 'usage') ??
    child(answer, 'tokenUsage') ??
    child(answer, 'meta') ??
    answer
  const read = readerOf(usage)
  if (read === undefined) return undefined
  const { counts, semantics } = read(usage)
  return {
    usage: counts,
    semantics,
    geo: textOf(usage, 'inference_geo'),
    fast: textOf(usage, 'speed') === 'fast',
    serviceTier:
      textOf(usage, 'service_tier') || textOf(answer, 'service_tier') || textOf(usage, 'serviceTier'),
  }
}

interface Read {
  readonly counts: Usage
  readonly semantics: 'inclusive' | 'exclusive'
}

function readerOf(usage: JsonObject): ((usage: JsonObject) => Read) | undefined {
  if (has(usage, 'billed_units') || has(usage, 'tokens')) return cohere
  if (has(usage, 'promptTokenCount') || has(usage, 'prompt_token_count')) return gemini
  if (has(usage, 'totalTokenCount') || has(usage, 'total_token_count')) return gemini
  if (has(usage, 'prompt_tokens')) return openAiChat
  if (has(usage, 'inputTokens')) return camelCase
  if (!has(usage, 'input_tokens')) return undefined
  const isAnthropic =
    has(usage, 'cache_creation_input_tokens') ||
    has(usage, 'cache_read_input_tokens') ||
    has(usage, 'cache_creation')
  return isAnthropic ? anthropic : openAiResponses
}

/** `prompt_tokens` holds cached ones, `completion_tokens` reasoning; xAI leaves reasoning out, its total tells. */
function openAiChat(usage: JsonObject): Read {
  const counts = emptyUsage()
  const input = child(usage, 'prompt_tokens_details')
  const output = child(usage, 'completion_tokens_details')
  counts.input = count(usage, 'prompt_tokens')
  counts.output = count(usage, 'completion_tokens')
  counts.cacheRead = first(
    countOf(input, 'cached_tokens'),
    countOf(usage, 'prompt_cache_hit_tokens', 'cached_tokens', 'cached_prompt_text_tokens'),
  )
  counts.cacheWrite = count(input, 'cache_write_tokens')
  counts.audioInput = count(input, 'audio_tokens')
  counts.imageInput = count(input, 'image_tokens')
  counts.reasoning = first(countOf(output, 'reasoning_tokens'), countOf(usage, 'reasoning_tokens'))
  counts.audioOutput = count(output, 'audio_tokens')
  counts.imageOutput = count(output, 'image_tokens')
  const isApart =
    count(usage, 'total_tokens') === counts.input + counts.output + counts.reasoning ||
    REASONING_APART.some((key) => has(usage, key))
  if (isApart) counts.output += counts.reasoning
  counts.output += count(usage, 'citation_tokens')
  return { counts, semantics: 'inclusive' }
}

/** Only Perplexity's usage and that of xAI's own SDK have these: reasoning is billed beside the completion, citations too. */
const REASONING_APART = ['citation_tokens', 'num_search_queries', 'cached_prompt_text_tokens']

function openAiResponses(usage: JsonObject): Read {
  const counts = emptyUsage()
  // `input_tokens_details` in responses and images, `input_token_details` in realtime.
  const input = child(usage, 'input_tokens_details') ?? child(usage, 'input_token_details')
  const output = child(usage, 'output_tokens_details') ?? child(usage, 'output_token_details')
  const cached = child(input, 'cached_tokens_details')
  counts.input = count(usage, 'input_tokens')
  counts.output = count(usage, 'output_tokens')
  counts.cacheRead = count(input, 'cached_tokens')
  counts.cacheWrite = count(input, 'cache_write_tokens')
  counts.audioInput = less(count(input, 'audio_tokens'), count(cached, 'audio_tokens'))
  counts.imageInput = less(count(input, 'image_tokens'), count(cached, 'image_tokens'))
  counts.reasoning = first(countOf(output, 'reasoning_tokens'), countOf(output, 'thinking_tokens'))
  counts.audioOutput = count(output, 'audio_tokens')
  counts.imageOutput = count(output, 'image_tokens')
  return { counts, semantics: 'inclusive' }
}

/** `input_tokens` leaves out what was read from and written to the cache. A compaction is billed, but not in the sums. */
function anthropic(usage: JsonObject): Read {
  const counts = emptyUsage()
  addAnthropic(counts, usage)
  counts.reasoning = count(child(usage, 'output_tokens_details'), 'thinking_tokens')
  const iterations = own(usage, 'iterations')
  if (Array.isArray(iterations)) {
    for (const item of iterations.slice(0, 1000)) {
      const iteration = asObject(item)
      if (own(iteration, 'type') === 'compaction') addAnthropic(counts, iteration)
    }
  }
  return { counts, semantics: 'exclusive' }
}

function addAnthropic(counts: Usage, usage: JsonObject | undefined): void {
  const split = child(usage, 'cache_creation')
  const hour = count(split, 'ephemeral_1h_input_tokens')
  const written = first(
    countOf(usage, 'cache_creation_input_tokens'),
    count(split, 'ephemeral_5m_input_tokens') + hour,
  )
  const read = count(usage, 'cache_read_input_tokens')
  counts.input += count(usage, 'input_tokens') + read + written
  counts.output += count(usage, 'output_tokens')
  counts.cacheRead += read
  counts.cacheWrite1h += Math.min(hour, written)
  counts.cacheWrite += less(written, hour)
}

/** The prompt holds cached tokens, the candidates do not hold thoughts; tool results fed back count as input. */
function gemini(usage: JsonObject): Read {
  const counts = emptyUsage()
  const prompt = list(usage, 'promptTokensDetails', 'prompt_tokens_details')
  const tools = list(usage, 'toolUsePromptTokensDetails', 'tool_use_prompt_tokens_details')
  const cached = list(usage, 'cacheTokensDetails', 'cache_tokens_details')
  const answer = list(usage, 'candidatesTokensDetails', 'candidates_tokens_details')
  const thoughts = zero(countOf(usage, 'thoughtsTokenCount', 'thoughts_token_count'))
  counts.input =
    zero(countOf(usage, 'promptTokenCount', 'prompt_token_count')) +
    zero(countOf(usage, 'toolUsePromptTokenCount', 'tool_use_prompt_token_count'))
  counts.output = zero(countOf(usage, 'candidatesTokenCount', 'candidates_token_count')) + thoughts
  counts.cacheRead = zero(countOf(usage, 'cachedContentTokenCount', 'cached_content_token_count'))
  counts.reasoning = thoughts
  counts.audioInput = less(modality(prompt, AUDIO) + modality(tools, AUDIO), modality(cached, AUDIO))
  counts.imageInput = less(modality(prompt, IMAGE) + modality(tools, IMAGE), modality(cached, IMAGE))
  counts.audioOutput = modality(answer, AUDIO)
  counts.imageOutput = modality(answer, IMAGE)
  return { counts, semantics: 'inclusive' }
}

const AUDIO: ReadonlySet<unknown> = new Set(['AUDIO'])
/** Pages of a document are billed as images. */
const IMAGE: ReadonlySet<unknown> = new Set(['IMAGE', 'DOCUMENT'])

/** Bedrock Converse leaves cached tokens out of `inputTokens`; Genkit has no cache fields, so nothing changes for it. */
function camelCase(usage: JsonObject): Read {
  const counts = emptyUsage()
  const read = zero(countOf(usage, 'cacheReadInputTokens', 'cacheReadInputTokenCount', 'cacheReadTokens'))
  const written = zero(
    countOf(usage, 'cacheWriteInputTokens', 'cacheWriteInputTokenCount', 'cacheWriteTokens'),
  )
  counts.cacheWrite1h = Math.min(hourly(usage), written)
  counts.cacheWrite = written - counts.cacheWrite1h
  counts.cacheRead = read
  counts.input = count(usage, 'inputTokens') + read + written
  counts.output = count(usage, 'outputTokens')
  counts.reasoning = count(usage, 'thoughtsTokens')
  return { counts, semantics: read + written > 0 ? 'exclusive' : 'inclusive' }
}

function hourly(usage: JsonObject): number {
  let tokens = 0
  for (const item of list(usage, 'cacheDetails')) {
    if (own(item, 'ttl') === '1h') tokens += count(item, 'inputTokens')
  }
  return tokens
}

/** What is billed; `tokens` counts what the model saw. */
function cohere(usage: JsonObject): Read {
  const counts = emptyUsage()
  const billed = child(usage, 'billed_units') ?? child(usage, 'tokens')
  counts.input = count(billed, 'input_tokens') + count(billed, 'image_tokens')
  counts.imageInput = count(billed, 'image_tokens')
  counts.output = count(billed, 'output_tokens')
  return { counts, semantics: 'inclusive' }
}

function list(usage: JsonObject, ...keys: readonly string[]): readonly JsonObject[] {
  for (const key of keys) {
    const value = own(usage, key)
    if (!Array.isArray(value)) continue
    return value
      .slice(0, 100)
      .map(asObject)
      .filter((item) => item !== undefined)
  }
  return []
}

function modality(details: readonly JsonObject[], wanted: ReadonlySet<unknown>): number {
  let tokens = 0
  for (const detail of details) {
    if (wanted.has(own(detail, 'modality'))) tokens += zero(countOf(detail, 'tokenCount', 'token_count'))
  }
  return tokens
}

function has(usage: JsonObject, key: string): boolean {
  return Object.hasOwn(usage, key)
}

function count(object: JsonObject | undefined, key: string): number {
  return zero(countOf(object, key))
}

function first(...values: readonly number[]): number {
  return values.find((value) => !Number.isNaN(value)) ?? 0
}

function zero(value: number): number {
  return Number.isNaN(value) ? 0 : value
}

function less(whole: number, part: number): number {
  return Math.max(whole - part, 0)
}

function textOf(object: JsonObject, key: string): string {
  const value = own(object, key)
  return typeof value === 'string' ? value : ''
}
