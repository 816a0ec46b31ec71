// One table of two collections. genai-prices is dated and newer: where its rule really means the model, its prices
// hold and LiteLLM adds what it lacks (batch, flex, priority, audio, 1-hour writes, uplifts). Elsewhere LiteLLM holds.
import { matches } from './genai.mjs'
import { proportion } from './decimal.mjs'

/** OpenRouter's free variants of any model. */
const FREE = {
  provider: 'openrouter',
  id: ':free',
  match: { ends_with: ':free' },
  source: 'genai-prices',
  periods: [{ input: '0', output: '0' }],
}

const SERVICES = ['batch', 'flex', 'priority']

export function merge(all, genai, litellmDate) {
  const litellm = globalAzure(all)
  const byProvider = Map.groupBy ? Map.groupBy(genai, (model) => model.provider) : group(genai)
  const exact = new Set()
  const rows = litellm.map((entry) => {
    exact.add(`${entry.provider} ${entry.id}`)
    const model = twin(entry, byProvider)
    return model === undefined ? alone(entry) : joined(entry, model, litellmDate)
  })
  for (const model of genai) {
    const named = { provider: model.provider, id: model.id, match: model.match }
    const twinRow = exact.has(`${model.provider} ${model.id}`)
      ? rows.find((row) => row.provider === model.provider && row.id === model.id)
      : undefined
    // The rule of a model that both have goes with the joined prices.
    if (twinRow?.source === 'both') twinRow.match = model.match
    else rows.push({ ...named, source: 'genai-prices', periods: model.periods.map(compact) })
  }
  rows.push(FREE)
  return rows.map(tidy).sort((a, b) => compare(a.provider, b.provider) || compare(a.id, b.id))
}

/** An Azure deployment that names no zone is taken as Global, the kind most are; some base entries have the regional price. */
function globalAzure(entries) {
  const byId = new Map(
    entries.filter(({ provider }) => provider === 'azure.ai.openai').map((entry) => [entry.id, entry]),
  )
  return entries.map((entry) => {
    if (entry.provider !== 'azure.ai.openai' || entry.id.includes('/')) return entry
    const names = [entry.id, entry.id.replace(/-\d{4}-\d{2}-\d{2}$/, '')]
    const zone = names.flatMap((id) => byId.get(`global-standard/${id}`) ?? byId.get(`global/${id}`) ?? [])[0]
    return zone === undefined ? entry : { ...entry, rates: { ...entry.rates, ...zone.rates } }
  })
}

function group(models) {
  const groups = new Map()
  for (const model of models) groups.set(model.provider, [...(groups.get(model.provider) ?? []), model])
  return groups
}

/** The model of genai-prices that the entry is: its rule takes the id and nothing but a date or version is left over. */
function twin(entry, byProvider) {
  // A price for one region: genai-prices has none such outside Bedrock's Claude.
  if (/^(?:[a-z]{2}(?:-gov)?-[a-z]+-\d|(?:eu|us|global|global-standard)\/)/.test(entry.id)) return undefined
  if (/^(?:us-gov|apac|au|jp|eu)\./.test(entry.id) && !/anthropic/.test(entry.id)) return undefined
  if (entry.id.startsWith('us-gov.')) return undefined
  const owners = entry.provider === 'gcp.vertex_ai' ? ['gcp.gemini'] : [entry.provider]
  for (const owner of owners) {
    for (const model of byProvider.get(owner) ?? []) {
      if (model.id !== entry.id && !matches(model.match, entry.id)) continue
      const isDated = model.periods.length > 1
      if (entry.provider === 'gcp.vertex_ai' && !isDated) return undefined
      return isSame(entry.id, model) ? model : undefined
    }
  }
  return undefined
}

function isSame(id, model) {
  if (id === model.id || names(model.match).has(id)) return true
  const bare = (text) =>
    text.replace(/^(?:regional|global|us|eu|apac|au|jp)\./, '').replace(/-v\d+(?::\d+)?$/, '')
  const [own, other] = [bare(id), bare(model.id)]
  if (own === other) return true
  const [short, long] = own.length < other.length ? [own, other] : [other, own]
  return (
    long.startsWith(short) &&
    /^[-@:.]?(?:latest|preview|\d{4,8}|\d{4}-\d{2}-\d{2}|-latest)$/.test(long.slice(short.length))
  )
}

function names(rule) {
  const [[kind, value]] = Object.entries(rule)
  if (kind === 'equals') return new Set([value.toLowerCase()])
  return kind === 'or' ? new Set(value.flatMap((part) => [...names(part)])) : new Set()
}

function alone(entry) {
  const { provider, id, rates, tiers, later = [], geo, fast } = entry
  const first = compact({ rates, tiers, ...services(entry) })
  return { provider, id, source: 'litellm', geo, fast, periods: [first, ...later.map(compact)] }
}

function joined(entry, model, date) {
  const periods = model.periods.map((period) => {
    const isNow = period === current(model.periods, date)
    const isEqual = period.rates.input === entry.rates.input && period.rates.output === entry.rates.output
    const rates = isEqual ? { ...entry.rates, ...period.rates } : period.rates
    const tiers = isEqual ? withTiers(period.tiers, entry.tiers, model.periods.length === 1) : period.tiers
    const kinds = isNow && isEqual ? services(entry) : scaledServices(entry, period)
    return compact({ ...period, rates, tiers, ...kinds })
  })
  return { provider: entry.provider, id: entry.id, source: 'both', geo: entry.geo, fast: entry.fast, periods }
}

/** Where genai-prices has no tiers and no history that ended them, it does not know them: its OpenRouter never does. */
function withTiers(own, other, isUndated) {
  if (own.length === 0) return isUndated ? other : own
  return own.map((tier) => ({ ...other.find((candidate) => candidate.over === tier.over), ...tier }))
}

function current(periods, date) {
  return periods.filter((period) => period.hours === undefined && (period.from ?? '') <= date).at(-1)
}

function services(entry) {
  return Object.fromEntries(
    SERVICES.filter((kind) => entry[kind] !== undefined).map((kind) => [kind, entry[kind]]),
  )
}

/** Another date's price: batch, flex and priority keep their share of the base. */
function scaledServices(entry, period) {
  const found = {}
  for (const kind of SERVICES) {
    const input = proportion(entry[kind]?.input, period.rates.input, entry.rates.input)
    const output = proportion(entry[kind]?.output, period.rates.output, entry.rates.output)
    if (input !== undefined) found[kind] = { input, ...(output === undefined ? {} : { output }) }
  }
  return found
}

function compact({ from, hours, rates, tiers, batch, flex, priority }) {
  const trimmed = Object.fromEntries(
    Object.entries(rates).filter(
      ([name, value]) => value !== undefined && !(name === 'reasoning' && value === rates.output),
    ),
  )
  return JSON.parse(
    JSON.stringify({
      from,
      hours,
      ...trimmed,
      tiers: tiers?.length > 0 ? tiers : undefined,
      batch,
      flex,
      priority,
    }),
  )
}

function tidy({ provider, id, match, source, geo, fast, periods }) {
  // A rule that only names the id itself says nothing new.
  const rule = match?.equals?.toLowerCase() === id ? undefined : match
  return { provider, id, match: rule, source, geo, fast, periods }
}

function compare(a, b) {
  return a < b ? -1 : a > b ? 1 : 0
}
