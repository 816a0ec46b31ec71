// Makes processors/cost/prices.json from two public price collections:
//   LiteLLM's model_prices_and_context_window.json (as the table prices.csv or as that JSON) and genai-prices' data.json.
// node scripts/prices.mjs [--litellm FILE|URL] [--genai FILE|URL] [--litellm-date D] [--genai-date D] [--revision N] [--check]
// Without sources it reads ../shared/data/cost. Prints what changes against the present file; --check writes nothing.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { parseArgs } from 'node:util'
import { fileURLToPath } from 'node:url'
import { gunzipSync } from 'node:zlib'
import { readLiteLlm } from './prices/litellm.mjs'
import { readGenai } from './prices/genai.mjs'
import { correct, CORRECTIONS } from './prices/corrections.mjs'
import { merge } from './prices/merge.mjs'
import { diff } from './prices/diff.mjs'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const data = join(root, '..', 'shared', 'data', 'cost')
const target = join(root, 'processors', 'cost', 'prices.json')
const { values } = parseArgs({
  options: {
    litellm: { type: 'string', default: join(data, 'prices.csv') },
    genai: { type: 'string', default: join(data, 'genai-prices-0.1.8.json.gz') },
    'litellm-date': { type: 'string', default: '2026-08-01' },
    'genai-date': { type: 'string', default: '2026-09-23' },
    revision: { type: 'string', default: '1' },
    check: { type: 'boolean', default: false },
  },
})

const litellm = correct('litellm', readLiteLlm(await load(values.litellm)))
const genai = correct('genai-prices', readGenai(JSON.parse(await load(values.genai))))
const dates = { litellm: values['litellm-date'], genai: values['genai-date'] }
const models = merge(litellm, genai, dates.litellm)
const table = {
  version: `${dates.litellm > dates.genai ? dates.litellm : dates.genai}+${values.revision}`,
  unit: 'USD per 1,000,000 tokens, as decimal text',
  sources: [
    { name: 'litellm', date: dates.litellm, licence: 'MIT', project: 'BerriAI/litellm' },
    { name: 'genai-prices', date: dates.genai, licence: 'MIT', project: 'pydantic/genai-prices' },
  ],
  corrections: CORRECTIONS.map(({ source, provider, id, why }) => ({ source, provider, id, why })),
}

report(diff(existsSync(target) ? JSON.parse(readFileSync(target, 'utf8')).models : [], models))
if (!values.check) writeFileSync(target, render(table, models))

async function load(place) {
  if (place.startsWith('https:')) {
    const response = await fetch(place, { signal: AbortSignal.timeout(60_000) })
    if (!response.ok) throw new Error(`${place} answered ${response.status}`)
    return await response.text()
  }
  const bytes = readFileSync(place)
  return (place.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8')
}

/** One model a line, so that a refresh reads well in a diff. */
function render(head, rows) {
  const body = rows.map((row) => `  ${JSON.stringify(row)}`).join(',\n')
  return `${JSON.stringify(head, null, 1).slice(0, -2)},\n "models": [\n${body}\n ]\n}\n`
}

function report({ added, removed, changed }) {
  for (const line of changed) console.log(line)
  console.log(
    `${models.length} models: ${added} added, ${removed} removed, ${changed.length} with another price`,
  )
}
