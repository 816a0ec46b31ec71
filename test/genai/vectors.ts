import type { CostProcessor } from '../../processors/cost/cost.ts'
import { usdText } from '../../pipeline/genai/decimal.ts'
import { factsOf } from '../../pipeline/genai/facts-of.ts'
import { Comparison, type Agreement } from './agreement.ts'
import { batchOf, costsOf, statusOf, type Attributes } from './spans.ts'

/** `cost/vectors.json`: a call, and what it cost to the last decimal. */
interface Vector {
  readonly id: string
  readonly model: string
  readonly provider: string
  readonly priced_at: string
  readonly usage: Readonly<Record<string, number | boolean>>
  readonly expected_usd: string
}

/** The vectors' words → attributes. Their input holds cached and written tokens, their output reasoning. */
const USAGE_KEYS: Readonly<Record<string, string>> = {
  input: 'gen_ai.usage.input_tokens',
  output: 'gen_ai.usage.output_tokens',
  cache_read: 'gen_ai.usage.cache_read.input_tokens',
  cache_write: 'gen_ai.usage.cache_write.input_tokens',
  cache_write_5m: 'gen_ai.usage.cache_write.input_tokens.ephemeral_5m',
  cache_write_1h: 'gen_ai.usage.cache_write.input_tokens.ephemeral_1h',
  reasoning: 'gen_ai.usage.reasoning.output_tokens',
  audio_input: 'gen_ai.usage.audio.input_tokens',
  audio_output: 'gen_ai.usage.audio.output_tokens',
  image_input: 'gen_ai.usage.image.input_tokens',
  image_output: 'gen_ai.usage.image.output_tokens',
  batch: 'gen_ai.request.batch',
  service_tier: 'gen_ai.response.service_tier',
  tier: 'gen_ai.response.service_tier',
}

export function compareVectors(text: string, processor: CostProcessor): Agreement {
  const comparison = new Comparison()
  for (const vector of JSON.parse(text) as Vector[]) {
    const batch = batchOf({
      start: vector.priced_at.includes('T') ? vector.priced_at : `${vector.priced_at}T12:00:00Z`,
      attributes: {
        'gen_ai.operation.name': 'chat',
        'gen_ai.provider.name': vector.provider,
        'gen_ai.response.model': vector.model,
        ...(Object.fromEntries(
          Object.entries(vector.usage).map(([name, value]) => [USAGE_KEYS[name] ?? name, value]),
        ) as Attributes),
      },
    })
    processor.process(batch)
    const facts = factsOf(batch)
    comparison.add(
      vector.id,
      [statusOf(facts), usdText(costsOf(facts).CostUsd)],
      ['computed', vector.expected_usd],
    )
  }
  return comparison
}
