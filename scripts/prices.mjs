// Refreshes processors/cost/prices.json from two public price collections, LiteLLM's and genai-prices', each a file or a
// URL, and prints what changes: `npm run prices -- [options]`. What it changes is in force from the collection's date on;
// calls before keep their price.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { parseArgs } from 'node:util'
import { fileURLToPath } from 'node:url'
import { readLiteLlm } from './prices/litellm.mjs'
import { readGenai } from './prices/genai.mjs'
import { correct, CORRECTIONS } from './prices/corrections.mjs'
import { merge } from './prices/merge.mjs'
import { diff, render } from './prices/diff.mjs'
import { carry } from './prices/history.mjs'
import { doubts } from './prices/doubts.mjs'
import { load } from './prices/load.mjs'

const HELP = `Usage: npm run prices -- [options]

  --litellm PLACE       LiteLLM's model_prices_and_context_window.json (or the table prices.csv): a file, .gz too, or a URL
  --genai PLACE         genai-prices' data.json, likewise
  --litellm-date DAY    the day that the collection is of (default today, UTC); likewise --genai-date
  --out FILE            the table to refresh (default the built-in one; \`price_file\` of the cost processor takes it)
  --restate             a changed price was always so: no history is kept (for errors that were corrected)
  --check               write nothing
  --yes                 write even what is doubtful

Exit code 1 where changes are doubtful and --yes is not given, or a source cannot be read: nothing is written then.
`
const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const today = new Date().toISOString().slice(0, 10)
const { values } = parseArgs({
  options: {
    litellm: {
      type: 'string',
      default: 'https://raw.githubusercontent.com/BerriAI/litellm/main/model_prices_and_context_window.json',
    },
    genai: {
      type: 'string',
      default: 'https://raw.githubusercontent.com/pydantic/genai-prices/main/prices/data.json',
    },
    'litellm-date': { type: 'string', default: today },
    'genai-date': { type: 'string', default: today },
    out: { type: 'string', default: join(root, 'processors', 'cost', 'prices.json') },
    restate: { type: 'boolean', default: false },
    check: { type: 'boolean', default: false },
    yes: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

async function main() {
  if (values.help) return print(HELP)
  const dates = { litellm: values['litellm-date'], genai: values['genai-date'] }
  for (const day of Object.values(dates)) {
    if (!/^\d{4}-\d{2}-\d{2}$/.test(day) || Number.isNaN(Date.parse(day)))
      throw new Error(`${day} is not a day such as ${today}`)
  }
  const before = existsSync(values.out) ? JSON.parse(readFileSync(values.out, 'utf8')) : undefined
  const models = carry(before?.models ?? [], await fresh(dates), dates, values.restate)
  const changes = diff(before?.models ?? [], models)
  print(render(changes, models.length))
  const isSame = before !== undefined && JSON.stringify(before.models) === JSON.stringify(models)
  if (isSame) return print('nothing to write\n')
  const why = doubts(before?.models ?? [], changes)
  for (const doubt of why) print(`doubtful: ${doubt}\n`)
  if (why.length > 0 && !values.yes) {
    print('nothing was written: look at the changes, then repeat with --yes\n')
    process.exitCode = 1
    return
  }
  if (values.check) return print('--check: nothing was written\n')
  const head = headOf(dates, before)
  writeFileSync(values.out, tableText(head, models))
  print(`${values.out}: version ${head.version}\n`)
}

async function fresh(dates) {
  const litellm = correct('litellm', readLiteLlm(await load(values.litellm)))
  const genai = correct('genai-prices', readGenai(JSON.parse(await load(values.genai))))
  return merge(litellm, genai, dates.litellm)
}

/** The version is the later of the two dates and a number, one more for each table of the same dates. */
function headOf(dates, before) {
  const day = dates.litellm > dates.genai ? dates.litellm : dates.genai
  const [lastDay, revision] = (before?.version ?? '').split('+')
  return {
    version: `${day}+${lastDay === day ? Number(revision) + 1 : 1}`,
    unit: 'USD per 1,000,000 tokens, as decimal text',
    sources: [
      { name: 'litellm', date: dates.litellm, licence: 'MIT', project: 'BerriAI/litellm' },
      { name: 'genai-prices', date: dates.genai, licence: 'MIT', project: 'pydantic/genai-prices' },
    ],
    corrections: CORRECTIONS.map(({ source, provider, id, why }) => ({ source, provider, id, why })),
  }
}

/** One model a line, so that a refresh reads well in a diff. */
function tableText(head, rows) {
  const body = rows.map((row) => `  ${JSON.stringify(row)}`).join(',\n')
  return `${JSON.stringify(head, null, 1).slice(0, -2)},\n "models": [\n${body}\n ]\n}\n`
}

function print(text) {
  process.stdout.write(text)
}

try {
  await main()
} catch (error) {
  process.stderr.write(`prices: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = 1
}
