import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { JsonObject } from './json.ts'
import { usageOfPayload } from './payload.ts'
import { emptyUsage, type Usage } from './usage.ts'

/** Answers in the shapes that providers give, each with counts that cannot be mistaken for one another. */
const SHAPES: readonly [provider: string, answer: JsonObject, usage: Partial<Usage>][] = [
  [
    'OpenAI chat',
    {
      usage: {
        prompt_tokens: 100,
        completion_tokens: 50,
        total_tokens: 150,
        prompt_tokens_details: { cached_tokens: 30, audio_tokens: 7 },
        completion_tokens_details: { reasoning_tokens: 20, audio_tokens: 3 },
      },
    },
    { input: 100, output: 50, cacheRead: 30, audioInput: 7, reasoning: 20, audioOutput: 3 },
  ],
  [
    'xAI chat, whose total says that reasoning stands apart',
    {
      usage: {
        prompt_tokens: 100,
        completion_tokens: 50,
        total_tokens: 170,
        completion_tokens_details: { reasoning_tokens: 20 },
      },
    },
    { input: 100, output: 70, reasoning: 20 },
  ],
  [
    'xAI’s own SDK',
    {
      usage: {
        prompt_tokens: 100,
        completion_tokens: 50,
        reasoning_tokens: 20,
        cached_prompt_text_tokens: 30,
      },
    },
    { input: 100, output: 70, cacheRead: 30, reasoning: 20 },
  ],
  [
    'Perplexity',
    {
      usage: {
        prompt_tokens: 100,
        completion_tokens: 50,
        total_tokens: 150,
        citation_tokens: 9,
        num_search_queries: 2,
        reasoning_tokens: 20,
      },
    },
    { input: 100, output: 79, reasoning: 20 },
  ],
  [
    'Cloudflare',
    { result: { usage: { prompt_tokens: 100, completion_tokens: 50 } } },
    { input: 100, output: 50 },
  ],
  [
    'Anthropic',
    {
      usage: {
        input_tokens: 50,
        output_tokens: 9,
        cache_read_input_tokens: 2000,
        cache_creation_input_tokens: 300,
        cache_creation: { ephemeral_5m_input_tokens: 100, ephemeral_1h_input_tokens: 200 },
      },
    },
    { input: 2350, output: 9, cacheRead: 2000, cacheWrite: 100, cacheWrite1h: 200 },
  ],
  [
    'Gemini',
    {
      usageMetadata: {
        promptTokenCount: 100,
        cachedContentTokenCount: 40,
        candidatesTokenCount: 50,
        thoughtsTokenCount: 20,
        toolUsePromptTokenCount: 5,
        promptTokensDetails: [{ modality: 'AUDIO', tokenCount: 8 }],
        cacheTokensDetails: [{ modality: 'AUDIO', tokenCount: 3 }],
      },
    },
    { input: 105, output: 70, cacheRead: 40, reasoning: 20, audioInput: 5 },
  ],
  [
    'Bedrock Converse',
    { usage: { inputTokens: 12, outputTokens: 9, cacheReadInputTokens: 900, cacheWriteInputTokens: 100 } },
    { input: 1012, output: 9, cacheRead: 900, cacheWrite: 100 },
  ],
  [
    'Cursor',
    { tokenUsage: { inputTokens: 12, outputTokens: 9, cacheReadTokens: 900, cacheWriteTokens: 100 } },
    { input: 1012, output: 9, cacheRead: 900, cacheWrite: 100 },
  ],
  [
    'Cohere',
    { usage: { billed_units: { input_tokens: 7, output_tokens: 3 }, tokens: { input_tokens: 99 } } },
    { input: 7, output: 3 },
  ],
]

describe('the usage in the answer of', () => {
  test.each(SHAPES)('%s', (_, answer, usage) => {
    expect(usageOfPayload(answer)?.usage).toEqual({ ...emptyUsage(), ...usage })
  })
})

test('whatever an answer holds, counts are whole and not negative, and nothing throws', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...SHAPES),
      fc.jsonValue(),
      fc.integer({ min: 1, max: 20 }),
      ([, answer], value, at) => {
        const usage = usageOfPayload(mutated(answer, value, at) as JsonObject)?.usage
        for (const count of Object.values(usage ?? {})) {
          expect(Number.isInteger(count) && count >= 0).toBe(true)
        }
      },
    ),
  )
})

/** The answer with its `at`-th value, counted in depth, replaced. */
function mutated(answer: unknown, value: unknown, at: number): unknown {
  let left = at
  const walk = (node: unknown): unknown => {
    if (left-- === 0) return value
    if (Array.isArray(node)) return node.map(walk)
    if (typeof node !== 'object' || node === null) return node
    return Object.fromEntries(Object.entries(node).map(([key, each]) => [key, walk(each)]))
  }
  return walk(answer)
}
