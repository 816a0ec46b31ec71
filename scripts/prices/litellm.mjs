// LiteLLM's prices → { provider, id, rates, tiers, batch, flex, priority, geo, fast }, decimal text in USD per million tokens.
import { decimal, perMillion } from './decimal.mjs'

/** LiteLLM's provider names → ours (OTel's where it has one). Others keep their name. */
const PROVIDERS = {
  'text-completion-openai': 'openai',
  bedrock: 'aws.bedrock',
  bedrock_converse: 'aws.bedrock',
  bedrock_mantle: 'aws.bedrock',
  amazon_nova: 'aws.bedrock',
  azure: 'azure.ai.openai',
  azure_text: 'azure.ai.openai',
  azure_ai: 'azure.ai.inference',
  gemini: 'gcp.gemini',
  palm: 'gcp.gemini',
  mistral: 'mistral_ai',
  codestral: 'mistral_ai',
  'text-completion-codestral': 'mistral_ai',
  moonshot: 'moonshot_ai',
  xai: 'x_ai',
  watsonx: 'ibm.watsonx.ai',
  cohere_chat: 'cohere',
  'fireworks_ai-embedding-models': 'fireworks_ai',
}

/** Our names of rates → the columns of prices.csv and the keys of LiteLLM's JSON. */
const RATES = {
  input: ['input_per_1m', 'input_cost_per_token'],
  output: ['output_per_1m', 'output_cost_per_token'],
  cacheRead: ['cache_read_per_1m', 'cache_read_input_token_cost'],
  cacheWrite: ['cache_write_per_1m', 'cache_creation_input_token_cost'],
  cacheWrite1h: ['cache_write_1h_per_1m', 'cache_creation_input_token_cost_above_1hr'],
  reasoning: ['reasoning_output_per_1m', 'output_cost_per_reasoning_token'],
  audioInput: ['audio_input_per_1m', 'input_cost_per_audio_token'],
  audioOutput: ['audio_output_per_1m', 'output_cost_per_audio_token'],
  imageInput: ['image_input_token_per_1m', 'input_cost_per_image_token'],
  imageOutput: ['image_output_token_per_1m', 'output_cost_per_image_token'],
}
const TIER_RATES = ['input', 'output', 'cacheRead', 'cacheWrite', 'cacheWrite1h']

export function readLiteLlm(text) {
  const rows = text.trimStart().startsWith('{') ? fromJson(JSON.parse(text)) : fromCsv(text)
  const seen = new Set()
  return rows.flatMap((row) => {
    const provider = providerOf(row.provider)
    const entry = { provider, id: idOf(row.id, row.provider), ...row.prices }
    const key = `${provider} ${entry.id}`
    // A price of nothing is no fact: the collection writes 0 where it knows none.
    const isFree = !(Number(entry.rates.input) > 0) && !(Number(entry.rates.output) > 0)
    if (seen.has(key) || isFree) return []
    seen.add(key)
    return [entry]
  })
}

function providerOf(name) {
  return PROVIDERS[name] ?? (name.startsWith('vertex_ai') ? 'gcp.vertex_ai' : name)
}

/** Without the routing prefix: `azure/gpt-4o`, `bedrock/eu-west-1/…`, `vertex_ai/claude-…`. */
function idOf(id, provider) {
  const slash = id.indexOf('/')
  const head = id.slice(0, slash)
  const isRoute =
    slash > 0 && (head === provider || provider.startsWith(`${head}-`) || provider.startsWith(`${head}_`))
  return (isRoute ? id.slice(slash + 1) : id).toLowerCase()
}

function fromCsv(text) {
  const [header, ...rows] = parseCsv(text)
  return rows.map((cells) => {
    const row = Object.fromEntries(header.map((name, index) => [name, cells[index] ?? '']))
    const get = (rate) => decimal(row[RATES[rate][0]])
    const tier = (rate) => decimal(row[`tier_${RATES[rate][0]}`])
    const ranges = row.range_tiers_json === '' ? [] : JSON.parse(row.range_tiers_json)
    const multipliers = Object.fromEntries(row.multipliers.split(';').map((part) => part.split('=')))
    const steps = row.tier_threshold_tokens === '' ? [] : [[row.tier_threshold_tokens, tier]]
    return {
      id: row.model_id,
      provider: row.provider,
      prices: {
        ...base(get, steps, ranges),
        ...services((kind, side) => decimal(row[`${kind}_${side}_per_1m`])),
        ...factors((name) => multipliers[name]),
      },
    }
  })
}

function fromJson(models) {
  return Object.entries(models).flatMap(([id, row]) => {
    if (
      typeof row.litellm_provider !== 'string' ||
      (row.input_cost_per_token ?? row.tiered_pricing) === undefined
    )
      return []
    const get = (rate) => perMillion(row[RATES[rate][1]])
    const steps = [128, 200, 256, 272, 512].map((k) => [
      String(k * 1000),
      (rate) =>
        perMillion(
          row[
            `${RATES[rate][1].replace(/_above_1hr$/, '')}_above_${rate === 'cacheWrite1h' ? '1hr_above_' : ''}${k}k_tokens`
          ],
        ),
    ])
    return [
      {
        id,
        provider: row.litellm_provider,
        prices: {
          ...base(get, steps, row.tiered_pricing ?? []),
          ...services((kind, side) =>
            perMillion(row[`${side}_cost_per_token_${kind === 'batch' ? 'batches' : kind}`]),
          ),
          ...factors((name) => name.split('.').reduce((at, key) => at?.[key], row)),
        },
      },
    ]
  })
}

function base(get, steps, ranges) {
  const rates = pick(Object.keys(RATES), get)
  const tiers = steps
    .map(([over, tier]) => ({ over: Number(over), ...pick(TIER_RATES, tier) }))
    .filter((tier) => Object.keys(tier).length > 1)
  // `a < n ≤ b`: the lowest range is the base, the others are tiers over their lower end.
  for (const range of ranges.filter((candidate) => Array.isArray(candidate.range))) {
    const found = pick(Object.keys(RATES), (rate) => perMillion(range[RATES[rate][1]]))
    if (range.range[0] > 0) tiers.push({ over: range.range[0], ...found })
    else Object.assign(rates, found)
  }
  return { rates: known(rates), tiers: tiers.map(known).sort((a, b) => a.over - b.over) }
}

/** 0 stands for "not known" there, except for what an embedding writes. */
function known(rates) {
  return Object.fromEntries(
    Object.entries(rates).filter(([name, value]) => name === 'output' || value !== '0'),
  )
}

function services(get) {
  const found = {}
  for (const kind of ['batch', 'flex', 'priority']) {
    const rates = pick(['input', 'output'], (side) => get(kind, side))
    if (rates.input !== undefined) found[kind] = rates
  }
  return found
}

function factors(get) {
  const us = get('regional_processing_uplift_multiplier_us') ?? get('provider_specific_entry.us')
  const eu = get('regional_processing_uplift_multiplier_eu')
  const fast = get('provider_specific_entry.fast')
  const geo = {
    ...(us === undefined ? {} : { us: decimal(us) }),
    ...(eu === undefined ? {} : { eu: decimal(eu) }),
  }
  return {
    ...(Object.keys(geo).length === 0 ? {} : { geo }),
    ...(fast === undefined ? {} : { fast: decimal(fast) }),
  }
}

function pick(names, get) {
  return Object.fromEntries(names.map((name) => [name, get(name)]).filter(([, value]) => value !== undefined))
}

/** RFC 4180 without line breaks in cells. */
function parseCsv(text) {
  return text
    .trim()
    .split(/\r?\n/)
    .map((line) =>
      [...line.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)].map(
        ([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain,
      ),
    )
}
