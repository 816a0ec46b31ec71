// genai-prices' data.json → { provider, id, match, periods: [{ from?, hours?, rates, tiers }] }.
import { decimal } from './decimal.mjs'

const PROVIDERS = {
  aws: 'aws.bedrock',
  azure: 'azure.ai.openai',
  google: 'gcp.gemini',
  mistral: 'mistral_ai',
  moonshotai: 'moonshot_ai',
  'x-ai': 'x_ai',
  fireworks: 'fireworks_ai',
  together: 'together_ai',
  'github-copilot': 'github_copilot',
  voyageai: 'voyage',
}

const RATES = {
  input_mtok: 'input',
  output_mtok: 'output',
  cache_read_mtok: 'cacheRead',
  cache_write_mtok: 'cacheWrite',
  cache_write_1h_mtok: 'cacheWrite1h',
  output_reasoning_mtok: 'reasoning',
  input_audio_mtok: 'audioInput',
  output_audio_mtok: 'audioOutput',
  input_image_mtok: 'imageInput',
  output_image_mtok: 'imageOutput',
}

export function readGenai(providers) {
  return providers.flatMap((provider) =>
    (provider.models ?? []).flatMap((model) => {
      const periods = (Array.isArray(model.prices) ? model.prices : [{ prices: model.prices }]).map(periodOf)
      // A price of nothing is not known to be one; what is free says so in its id, and FREE takes it.
      const isPriced = periods.some(({ rates }) => Number(rates.input) > 0 || Number(rates.output) > 0)
      if (!isPriced || model.id.endsWith(':free')) return []
      return [
        {
          provider: PROVIDERS[provider.id] ?? provider.id,
          id: model.id.toLowerCase(),
          match: model.match,
          periods,
        },
      ]
    }),
  )
}

function periodOf({ constraint, prices }) {
  const rates = {}
  const tiers = new Map()
  for (const [key, value] of Object.entries(prices)) {
    const name = RATES[key]
    if (name === undefined) continue
    rates[name] = decimal(typeof value === 'object' ? value.base : value)
    for (const tier of typeof value === 'object' ? value.tiers : []) {
      tiers.set(tier.start, { ...tiers.get(tier.start), [name]: decimal(tier.price) })
    }
  }
  return {
    ...(constraint?.start_date === undefined ? {} : { from: constraint.start_date }),
    ...(constraint?.start_time === undefined
      ? {}
      : { hours: [constraint.start_time.slice(0, 5), constraint.end_time.slice(0, 5)] }),
    rates,
    tiers: [...tiers].map(([over, found]) => ({ over, ...found })).sort((a, b) => a.over - b.over),
  }
}

/** Whether a rule of genai-prices takes the (lower-case) id. */
export function matches(rule, id) {
  const [[kind, value]] = Object.entries(rule)
  switch (kind) {
    case 'equals':
      return id === value.toLowerCase()
    case 'starts_with':
      return id.startsWith(value.toLowerCase())
    case 'ends_with':
      return id.endsWith(value.toLowerCase())
    case 'contains':
      return id.includes(value.toLowerCase())
    case 'regex':
      return new RegExp(value).test(id)
    case 'or':
      return value.some((part) => matches(part, id))
    case 'and':
      return value.every((part) => matches(part, id))
    default:
      throw new Error(`unknown match rule ${kind}`)
  }
}
