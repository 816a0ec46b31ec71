import { decimal } from './decimal.mjs'

// Known errors of the two collections, each with its reason. `fix` gets a copy of the entry and changes it; id `*`: every
// entry of the provider.
export const CORRECTIONS = [
  {
    source: 'litellm',
    provider: 'anthropic',
    id: 'claude-3-haiku-20240307',
    why: '1-hour cache writes are 6, copied from Sonnet; Anthropic bills them at twice the input price: 0.5',
    fix: (entry) => (entry.rates.cacheWrite1h = '0.5'),
  },
  {
    source: 'litellm',
    provider: 'aws.bedrock',
    id: 'eu.anthropic.claude-3-5-haiku-20241022-v1:0',
    why: '0.25/1.25 is the price of Claude 3 Haiku; 3.5 Haiku costs 0.8/4',
    fix: (entry) =>
      Object.assign(entry.rates, { input: '0.8', output: '4', cacheRead: '0.08', cacheWrite: '1' }),
  },
  {
    source: 'litellm',
    provider: 'gcp.gemini',
    id: 'gemini-1.5-flash',
    why: 'output 0; it costs 0.3, over 128,000 tokens 0.6',
    fix: (entry) => {
      entry.rates.output = '0.3'
      for (const tier of entry.tiers) tier.output = '0.6'
    },
  },
  {
    source: 'litellm',
    provider: 'gcp.gemini',
    id: 'gemini-2.5-pro',
    why: 'priority price equal to the standard one: not known, so left out; the standard price is used',
    fix: (entry) => delete entry.priority,
  },
  ...['gcp.gemini', 'gcp.vertex_ai'].map((provider) => ({
    source: 'litellm',
    provider,
    id: 'gemini-3.6-flash',
    why: '1.5/7.5 holds from 2027-01-01; until then the introductory 0.75/3.75, dated as genai-prices has it',
    fix: (entry) => {
      entry.rates = { input: '0.75', output: '3.75', cacheRead: '0.075' }
      entry.batch = { input: '0.375', output: '1.875' }
      entry.flex = { input: '0.375', output: '1.875' }
      entry.priority = { input: '1.35', output: '6.75' }
      entry.later = [
        { from: '2027-01-01', rates: { input: '1.5', output: '7.5', cacheRead: '0.15' }, tiers: [] },
      ]
    },
  })),
  {
    source: 'litellm',
    provider: 'x_ai',
    id: 'grok-4',
    why: 'no tier, unlike the ids it stands for (grok-4-0709, grok-4-latest): 6/30 from 128,000 tokens',
    fix: (entry) => (entry.tiers = [{ over: 128_000, input: '6', output: '30' }]),
  },
  {
    source: 'litellm',
    provider: 'openrouter',
    id: 'anthropic/claude-sonnet-4.6',
    why: 'the surcharge over 200,000 tokens ended on 2026-03-13',
    fix: (entry) => (entry.tiers = []),
  },
  {
    source: 'litellm',
    provider: 'wandb',
    id: '*',
    why: 'prices 100,000 times too high: gpt-oss-120b costs 0.15/0.6, not 15000/60000',
    fix: (entry) => divide(entry, 100_000, 1000),
  },
  {
    source: 'litellm',
    provider: 'azure.ai.inference',
    id: 'jais-30b-chat',
    why: 'given per 1,000 tokens: 3.2/9.71, not 3200/9710',
    fix: (entry) => divide(entry, 1000, 1000),
  },
  ...['deepseek-chat', 'deepseek-reasoner'].map((id) => ({
    source: 'genai-prices',
    provider: 'deepseek',
    id,
    why: 'hours of day ended and the price fell with V3.2 (2025-09-29): 0.28/0.42, cached 0.028, as LiteLLM has it',
    fix: (entry) =>
      entry.periods.push({
        from: '2025-09-29',
        rates: { input: '0.28', output: '0.42', cacheRead: '0.028' },
        tiers: [],
      }),
  })),
]

/** Only what is still wrong: a later edition may be right. */
function divide(entry, by, over) {
  if (!(Number(entry.rates.input) > over)) return
  for (const [name, value] of Object.entries(entry.rates)) entry.rates[name] = decimal(Number(value) / by)
}

/** Thresholds written as one token less ("start") are the round number with `>`: the providers say "over 272K". */
function roundThresholds(entry) {
  for (const period of entry.periods ?? []) {
    for (const tier of period.tiers) if (tier.over % 1000 === 999) tier.over += 1
  }
}

/** Hours listed after a dated price came with it: DeepSeek's peak hours of 2026-08-17 are twice that day's price. */
function dateHours(entry) {
  let from
  for (const period of entry.periods ?? []) {
    if (period.hours === undefined) from = period.from
    else if (from !== undefined) period.from ??= from
  }
}

export function correct(source, entries) {
  const todo = CORRECTIONS.filter((correction) => correction.source === source)
  const corrected = entries.map((original) => {
    const entry = structuredClone(original)
    roundThresholds(entry)
    dateHours(entry)
    for (const { provider, id, fix } of todo) {
      if (entry.provider === provider && (entry.id === id || id === '*')) fix(entry)
    }
    return entry
  })
  return corrected.filter(isCredible)
}

/** The dearest model there is costs 600 USD per million tokens: more is an error of units, and no price is better than that one. */
const MAX_USD = 1000

export function isCredible({ rates, periods }) {
  const all = rates === undefined ? periods.map((period) => period.rates ?? period) : [rates]
  return all.every((each) => !Object.values(each).some((value) => Number(value) > MAX_USD))
}
