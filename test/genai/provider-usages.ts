import { scaled, usdText } from '../../pipeline/genai/decimal.ts'
import type { JsonObject } from '../../pipeline/genai/json.ts'
import { usageOfPayload } from '../../pipeline/genai/payload.ts'
import type { Usage } from '../../pipeline/genai/usage.ts'
import type { PriceBook } from '../../processors/cost/book.ts'
import { Comparison, type Agreement, type Argued } from './agreement.ts'
import { priceOf } from './pricing.ts'

/** `cost/provider-usages.json.gz`: answers of real providers, with the usage and the prices that readers of theirs get. */
interface UsageCase {
  readonly model?: string
  readonly body: JsonObject
  readonly extracted: readonly Group[]
}

interface Group {
  readonly usage: Readonly<Record<string, number>>
  readonly extractors: readonly {
    readonly provider_id: string
    readonly api_flavor: string
    readonly input_price?: string
    readonly output_price?: string
  }[]
}

const PROVIDERS: Readonly<Record<string, string>> = {
  aws: 'aws.bedrock',
  azure: 'azure.ai.openai',
  google: 'gcp.gemini',
  mistral: 'mistral_ai',
  moonshotai: 'moonshot_ai',
  'x-ai': 'x_ai',
  fireworks: 'fireworks_ai',
  together: 'together_ai',
}

/** The prices of the dataset are those of a fixed time before its sources' dated changes. */
const PRICED_AT = Date.parse('2025-09-01T12:00:00Z')

/** Differences that are argued, by key of the comparison. */
export const ARGUED_USAGES: Argued = {
  'usage #compaction*':
    'a compaction is billed on top of the sums (Anthropic’s `iterations`); the dataset leaves it out',
  'price azure.ai.openai gpt-oss-120b':
    'the dataset takes OpenRouter’s 0.039/0.18; Azure’s own price is 0.15/0.6',
  'price cerebras qwen-3-coder-480b': 'a model without a price: the dataset says 0, weir says unpriced',
  'price gcp.gemini gemini-2.5-flash':
    'cached audio has a price of its own (0.1); weir’s cache bucket has one price (0.03)',
  'price mistral_ai ministral-8b-latest':
    'the dataset’s output price is ten times the one its own source gives (0.1)',
}

export interface UsageAgreement extends Agreement {
  /** Payloads, and those of them whose usage and every price agree. */
  readonly payloads: number
  readonly agreed: number
}

/** Keys: `usage #…` per payload, `price provider model` per price. */
export function compareUsages(text: string, book: PriceBook): UsageAgreement {
  const comparison = new Comparison()
  let agreed = 0
  const cases = JSON.parse(text) as UsageCase[]
  for (const [index, item] of cases.entries()) {
    const before = comparison.differences.length
    compareOne(comparison, item, index, book)
    if (comparison.differences.length === before) agreed++
  }
  const { compared, differences } = comparison
  return { compared, differences, payloads: cases.length, agreed }
}

function compareOne(comparison: Comparison, item: UsageCase, index: number, book: PriceBook): void {
  const usage = usageOfPayload(item.body)?.usage
  const group = usage === undefined ? undefined : groupOf(item, usage)
  const label = JSON.stringify(item.body).includes('"compaction"') ? `compaction ${index}` : String(index)
  comparison.add(
    `usage #${label}`,
    usage === undefined ? 'none' : group === undefined ? usage : 'same',
    'same',
  )
  if (usage === undefined || group === undefined || item.model === undefined) return
  for (const { provider_id: id, input_price: input, output_price: output } of group.extractors) {
    if (input === undefined && output === undefined) continue
    const provider = PROVIDERS[id] ?? id
    const wanted = [input ?? '0', output ?? '0'].map((text) => usdText(scaled(text, 12) ?? -1n))
    comparison.add(
      `price ${provider} ${item.model}`,
      priceOf(book, provider, item.model, usage, PRICED_AT),
      wanted,
    )
  }
}

/** Which reader of the dataset is the one for a payload of this shape and maker; the other readers misread it. */
function readerOf({ body, model = '' }: UsageCase): RegExp {
  const text = JSON.stringify(body)
  if (text.includes('cache_creation')) return /^anthropic\/default$/
  if (text.includes('usageMetadata')) return /^google\/default$/
  if (text.includes('inputTokens')) return /^aws\/default$/
  if (text.includes('billed_units')) return /^cohere\//
  if (text.includes('citation_tokens') || text.includes('num_search_queries')) return /^perplexity\/default$/
  if (text.includes('cached_prompt_text_tokens')) return /^x-ai\/default$/
  if (!text.includes('prompt_tokens')) return /^openai\/responses$/
  return model.includes('grok') ? /^x-ai\/chat$/ : /^openai\/(?:chat|embeddings)$/
}

function groupOf(item: UsageCase, usage: Usage): Group | undefined {
  const reader = readerOf(item)
  return item.extracted.find(
    (group) =>
      group.extractors.some((extractor) => reader.test(`${extractor.provider_id}/${extractor.api_flavor}`)) &&
      isSame(usage, group.usage),
  )
}

function isSame(usage: Usage, wanted: Readonly<Record<string, number>>): boolean {
  return (
    usage.input === (wanted['input_tokens'] ?? 0) &&
    usage.output === (wanted['output_tokens'] ?? 0) &&
    usage.cacheRead === (wanted['cache_read_tokens'] ?? 0) &&
    usage.cacheWrite + usage.cacheWrite1h === (wanted['cache_write_tokens'] ?? 0) &&
    usage.reasoning === (wanted['output_reasoning_tokens'] ?? 0)
  )
}
