import type { Batch } from '../batch/batch.ts'
import { aiSdkUsage, type AiSdkUsage } from './ai-sdk.ts'
import { SLOT } from './fields.ts'
import { countOf, parseObject, type JsonObject } from './json.ts'
import { usageOfPayload, type Payload } from './payload.ts'
import { MAX_COUNT } from './reading.ts'
import type { Scan } from './scan.ts'
import { emptyUsage, type Usage } from './usage.ts'

/**
 * Does "input" contain cached tokens, does "output" contain reasoning? Conventions, providers and instrumentations
 * differ, so every call is decided here once and how it was decided is kept.
 */
export interface Resolved {
  /** Valid until the next call. */
  readonly usage: Usage
  /**
   * inclusive, exclusive: by the provider's own numbers or a known rule for who wrote the span (the convention says
   * inclusive). disjoint: came apart already. inferred: by arithmetic, from text, or after a contradiction.
   */
  readonly semantics: 'inclusive' | 'exclusive' | 'disjoint' | 'inferred'
  /** The provider's answer, where the counts or hints came from it. */
  readonly payload?: Payload
}

/** A longer answer is not searched for usage: the span has it in attributes, or goes without. */
const MAX_PAYLOAD = 1 << 20

/** The token counts of a model call; undefined when it gives none, only zeros, or more than the columns hold. */
export function resolveUsage(scan: Scan, batch: Batch, row: number, provider: string): Resolved | undefined {
  const resolved =
    (scan.has(SLOT.langfuseUsage) ? fromLangfuse(scan.text(SLOT.langfuseUsage)) : undefined) ??
    fromAttributes(scan, batch, row, provider) ??
    fromPayload(scan)
  if (resolved === undefined) return undefined
  const { input, output } = resolved.usage
  const isTrue = input + output > 0 && input <= MAX_COUNT && output <= MAX_COUNT
  return isTrue ? resolved : undefined
}

/** Langfuse's own buckets are disjoint; a provider's usage object handed to it is not, and is told by its keys. */
function fromLangfuse(text: string): Resolved | undefined {
  const details = parseObject(text)
  if (details === undefined) return undefined
  if (/_details"\s*:\s*\{/.test(text)) {
    const payload = usageOfPayload(details)
    if (payload !== undefined) return { usage: payload.usage, semantics: payload.semantics, payload }
  }
  const usage = emptyUsage()
  usage.cacheRead = sum(details, [
    'input_cached_tokens',
    'input_cache_read',
    'cache_read_input_tokens',
    'input_cached',
  ])
  usage.cacheWrite1h = sum(details, ['input_cache_creation_1h'])
  usage.cacheWrite =
    sum(details, ['input_cache_creation_5m', 'input_cache_write']) ||
    sum(details, ['input_cache_creation', 'cache_creation_input_tokens'])
  usage.audioInput = sum(details, ['input_audio_tokens', 'input_audio'])
  usage.imageInput = sum(details, ['input_image_tokens', 'input_image'])
  usage.reasoning = sum(details, ['output_reasoning_tokens', 'output_reasoning', 'reasoning_tokens'])
  usage.audioOutput = sum(details, ['output_audio_tokens', 'output_audio'])
  usage.input =
    sum(details, ['input', 'input_tokens', 'prompt_tokens', 'promptTokens']) +
    usage.cacheRead +
    usage.cacheWrite +
    usage.cacheWrite1h +
    usage.audioInput +
    usage.imageInput
  usage.output =
    sum(details, ['output', 'output_tokens', 'completion_tokens', 'completionTokens']) +
    usage.reasoning +
    usage.audioOutput
  return { usage, semantics: 'disjoint' }
}

/** The first of the keys that has a count. */
function sum(details: JsonObject, keys: readonly string[]): number {
  const value = countOf(details, ...keys)
  return Number.isNaN(value) ? 0 : value
}

function fromPayload(scan: Scan): Resolved | undefined {
  if (!scan.has(SLOT.payload)) return undefined
  const text = scan.text(SLOT.payload)
  if (text.length > MAX_PAYLOAD || !/[uU]sage/.test(text)) return undefined
  const answer = parseObject(text)
  const payload = answer === undefined ? undefined : usageOfPayload(answer)
  return payload === undefined ? undefined : { usage: payload.usage, semantics: payload.semantics, payload }
}

function fromAttributes(scan: Scan, batch: Batch, row: number, provider: string): Resolved | undefined {
  if (!scan.has(SLOT.input) && !scan.has(SLOT.output) && !scan.has(SLOT.cacheRead) && !scan.has(SLOT.total))
    return undefined
  const sdk = scan.has(SLOT.providerMetadata) ? aiSdkUsage(scan.text(SLOT.providerMetadata)) : undefined
  const guessed = !scan.has(SLOT.input) && scan.has(SLOT.total)
  const usage = reported(scan, guessed, sdk)
  const input = inputSemantics(scan, batch, row, provider, usage, sdk)
  const cached = usage.cacheRead + usage.cacheWrite + usage.cacheWrite1h
  if (input.exclusive) usage.input += cached
  const output = outputSemantics(scan, batch, row, provider, usage, sdk)
  const inferred = guessed || input.inferred || output || scan.shape.textual
  const semantics = inferred ? 'inferred' : input.exclusive ? 'exclusive' : 'inclusive'
  return sdk?.payload === undefined ? { usage, semantics } : { usage, semantics, payload: sdk.payload }
}

/** For each span's counts in turn. */
const usage = emptyUsage()

/** The counts as the span gives them, before anything is decided. `guessed`: the input has to be worked out. */
function reported(scan: Scan, guessed: boolean, sdk: AiSdkUsage | undefined): Usage {
  const parts: Parts | undefined =
    scan.has(SLOT.inputDetails) || scan.has(SLOT.outputDetails) ? partsOf(scan) : sdk
  const hour = scan.count(SLOT.cacheWrite1h)
  const written = Math.max(scan.count(SLOT.cacheWrite), scan.count(SLOT.cacheWrite5m) + hour)
  usage.cacheRead = scan.count(SLOT.cacheRead) || (parts?.cacheRead ?? 0)
  usage.cacheWrite1h = hour || (parts?.cacheWrite1h ?? 0)
  usage.cacheWrite = Math.max((written || (parts?.cacheWrite ?? 0)) - usage.cacheWrite1h, 0)
  usage.reasoning = scan.count(SLOT.reasoning) || (parts?.reasoning ?? 0)
  usage.audioInput = scan.count(SLOT.audioInput) || (parts?.audioInput ?? 0)
  usage.audioOutput = scan.count(SLOT.audioOutput) || (parts?.audioOutput ?? 0)
  usage.imageInput = scan.count(SLOT.imageInput)
  usage.imageOutput = scan.count(SLOT.imageOutput)
  usage.output = scan.count(SLOT.output)
  usage.input = scan.count(SLOT.input)
  if (guessed) usage.input = Math.max(scan.count(SLOT.total) - usage.output, 0)
  return usage
}

type Parts = Partial<
  Pick<Usage, 'cacheRead' | 'cacheWrite' | 'cacheWrite1h' | 'reasoning' | 'audioInput' | 'audioOutput'>
>

/** LangSmith passes on LangChain's `input_token_details` and `output_token_details`. */
function partsOf(scan: Scan): Parts {
  const input = parseObject(scan.text(SLOT.inputDetails)) ?? {}
  const output = parseObject(scan.text(SLOT.outputDetails)) ?? {}
  const hour = sum(input, ['ephemeral_1h_input_tokens'])
  return {
    cacheRead: sum(input, ['cache_read']),
    cacheWrite: Math.max(sum(input, ['cache_creation']), sum(input, ['ephemeral_5m_input_tokens']) + hour),
    cacheWrite1h: hour,
    audioInput: sum(input, ['audio']),
    reasoning: sum(output, ['reasoning']),
    audioOutput: sum(output, ['audio']),
  }
}

interface Decision {
  readonly exclusive: boolean
  readonly inferred: boolean
}
const INCLUSIVE: Decision = { exclusive: false, inferred: false }
const EXCLUSIVE: Decision = { exclusive: true, inferred: false }
const BY_ARITHMETIC: Decision = { exclusive: true, inferred: true }

/**
 * In this order: the provider's raw usage on the span; who wrote the span; the numbers themselves; the convention.
 * `total = input + output` proves nothing: the AI SDK adds up its own exclusive input.
 */
function inputSemantics(
  scan: Scan,
  batch: Batch,
  row: number,
  provider: string,
  usage: Usage,
  sdk: AiSdkUsage | undefined,
): Decision {
  const cached = usage.cacheRead + usage.cacheWrite + usage.cacheWrite1h
  if (cached === 0) return INCLUSIVE
  if (sdk?.rawInput !== undefined && sdk.rawInput === usage.input) return EXCLUSIVE
  if (sdk?.rawInput !== undefined && sdk.rawInput + cached === usage.input) return INCLUSIVE
  const answer = byAnswer(scan, usage.input, cached)
  if (answer !== undefined) return answer
  // Cached tokens beyond the input cannot be inside it, whatever the rule says.
  if (usage.input < cached) {
    return isExclusiveWriter(scan, batch, row, provider) === true ? EXCLUSIVE : BY_ARITHMETIC
  }
  const rule = isExclusiveWriter(scan, batch, row, provider)
  if (rule !== undefined) return rule ? EXCLUSIVE : INCLUSIVE
  const total = scan.number(SLOT.total)
  return total === usage.input + usage.output + cached ? BY_ARITHMETIC : INCLUSIVE
}

/** The provider's own answer on the span, where it is of the same call: its input is the one with or without the cache. */
function byAnswer(scan: Scan, input: number, cached: number): Decision | undefined {
  const raw = fromPayload(scan)?.usage
  if (raw === undefined || raw.cacheRead + raw.cacheWrite + raw.cacheWrite1h !== cached) return undefined
  if (input === raw.input) return INCLUSIVE
  return input === raw.input - cached ? EXCLUSIVE : undefined
}

/** Instrumentations read in source whose input is without (true) or with (false) cached tokens. */
const WRITERS: ReadonlyMap<string, boolean> = new Map([
  ['opentelemetry.instrumentation.bedrock', true],
  ['opentelemetry.instrumentation.anthropic', false],
  ['openinference.instrumentation.claude_agent_sdk', true],
  ['openinference.instrumentation.anthropic', false],
  ['openinference.instrumentation.google_genai', false],
  ['pydantic-ai', false],
])

function isExclusiveWriter(scan: Scan, batch: Batch, row: number, provider: string): boolean | undefined {
  if (isAiSdk(scan)) {
    // AI SDK 4 and 5 pass on what Anthropic and Bedrock report; 6 adds it up.
    if (isModernAiSdk(scan)) return false
    return provider === 'anthropic' || provider === 'aws.bedrock'
  }
  return WRITERS.get(batch.scopeName(row))
}

function isAiSdk(scan: Scan): boolean {
  return scan.has(SLOT.aiOperation) && scan.text(SLOT.aiOperation).startsWith('ai.')
}

/** AI SDK ≥ 6 by its user agent, else by the `inputTokenDetails` that it brought. */
function isModernAiSdk(scan: Scan): boolean {
  const version = /\bai\/(\d{1,4})\./.exec(scan.text(SLOT.userAgent))?.[1]
  if (version !== undefined) return Number(version) >= 6
  return scan.has(SLOT.aiSdkDetails) || scan.source('cacheRead').startsWith('ai.usage.inputTokenDetails.')
}

/** Adds reasoning to the output where the output left it out. True when only the numbers say so. */
function outputSemantics(
  scan: Scan,
  batch: Batch,
  row: number,
  provider: string,
  usage: Usage,
  sdk: AiSdkUsage | undefined,
): boolean {
  const google = provider.startsWith('gcp.')
  const total = scan.number(SLOT.total)
  if (usage.reasoning === 0) {
    // Gemini's total holds the thoughts that its candidates do not.
    if (!google || !(total > usage.input + usage.output)) return false
    usage.reasoning = total - usage.input - usage.output
    usage.output += usage.reasoning
    return true
  }
  const known =
    (sdk?.rawOutput !== undefined && sdk.rawOutput === usage.output) ||
    (google && isAiSdk(scan) && !isModernAiSdk(scan)) ||
    // Google ADK passes on Gemini's candidates; where the total says so, its output holds the thoughts.
    (google && batch.scopeName(row) === 'gcp.vertex.agent' && total !== usage.input + usage.output)
  const byNumbers = usage.reasoning > usage.output || total === usage.input + usage.output + usage.reasoning
  if (known || byNumbers) usage.output += usage.reasoning
  return byNumbers && !known
}
