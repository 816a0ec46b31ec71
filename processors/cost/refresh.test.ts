import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { copyFile, mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { emptyUsage } from '../../pipeline/genai/usage.ts'
import { priceOf } from '../../test/genai/pricing.ts'
import { PriceBook } from './book.ts'
import { readTable } from './table.ts'

/** `npm run prices`, from a server of the test's own and from the shared collections. */

const SCRIPT = fileURLToPath(new URL('../../scripts/prices.mjs', import.meta.url))
const SHARED = fileURLToPath(new URL('../../../shared/data/cost/', import.meta.url))
const BUILT_IN = fileURLToPath(new URL('./prices.json', import.meta.url))
const DAY_1 = '2026-10-01'
const DAY_2 = '2026-11-01'

let directory: string
let out: string
let server: Server
let places: string[]
/** path → what is answered. */
const answers = new Map<string, unknown>()

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'weir-prices-'))
  out = join(directory, 'prices.json')
  server = createServer((request, response) => {
    const answer = answers.get(request.url ?? '')
    response.statusCode = answer === undefined ? 404 : 200
    response.end(JSON.stringify(answer ?? 'no'))
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  places = ['--litellm', `${base}/litellm.json`, '--genai', `${base}/genai.json`]
  answers.set('/litellm.json', litellm({}))
  answers.set('/genai.json', genai(2))
})
afterEach(async () => {
  answers.clear()
  server.closeAllConnections()
  server.close()
  await rm(directory, { recursive: true, force: true })
})

/** LiteLLM's file, USD per token; `changes` are merged into its models. */
function litellm(changes: Record<string, object | undefined>): Record<string, unknown> {
  const models: Record<string, object> = {
    sample_spec: { litellm_provider: 'one of …', input_cost_per_token: 0 },
    'acme/fast': {
      litellm_provider: 'acme',
      mode: 'chat',
      input_cost_per_token: 1e-6,
      output_cost_per_token: 4e-6,
      input_cost_per_token_above_200k_tokens: 2e-6,
      output_cost_per_token_above_200k_tokens: 8e-6,
      cache_read_input_token_cost: 1.5e-7,
    },
    'acme/slow': {
      litellm_provider: 'acme',
      mode: 'chat',
      input_cost_per_token: 5e-7,
      output_cost_per_token: 5e-7,
    },
  }
  for (const [id, change] of Object.entries(changes)) {
    if (change === undefined) delete models[id]
    else models[id] = { ...models[id], ...change }
  }
  return models
}

function genai(input: number): unknown {
  const prices = [
    { prices: { input_mtok: input, output_mtok: 9 } },
    { constraint: { start_date: '2026-09-15' }, prices: { input_mtok: input / 2, output_mtok: 9 } },
  ]
  return [{ id: 'openai', models: [{ id: 'gpt-x', match: { starts_with: 'gpt-x' }, prices }] }]
}

function refresh(...args: readonly string[]): Promise<{ code: number; text: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [SCRIPT, '--out', out, ...args], (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code), text: stdout + stderr }),
    )
  })
}

const on = (day: string) => ['--litellm-date', day, '--genai-date', day]

async function usd(
  provider: string,
  model: string,
  day: string,
  input = 1_000_000,
): Promise<string | undefined> {
  const book = new PriceBook(await readTable(out))
  return priceOf(book, provider, model, { ...emptyUsage(), input }, Date.parse(day))?.[0]
}

test('a price that changes is another one from that day on; before it stays what it was', async () => {
  expect(await refresh(...places, ...on(DAY_1))).toMatchObject({ code: 0 })
  expect((await readTable(out)).version).toBe(`${DAY_1}+1`)
  answers.set(
    '/litellm.json',
    litellm({ 'acme/fast': { input_cost_per_token: 1.2e-6 }, 'acme/slow': undefined }),
  )
  const { code, text } = await refresh(...places, ...on(DAY_2))
  expect(code).toBe(0)
  expect(text).toContain('acme fast (2 dated prices)\n  input: 1 → 1.2 (+20 %)')
  expect(await usd('acme', 'fast', '2026-10-31', 100_000)).toBe('0.1')
  expect(await usd('acme', 'fast', DAY_2, 100_000)).toBe('0.12')
  // Over the threshold nothing changed; a model that left the collection was still used before.
  expect(await usd('acme', 'fast', DAY_2)).toBe('2')
  expect(await usd('acme', 'slow', DAY_2)).toBe('0.5')
  // The other collection tells its dates itself.
  expect(await usd('openai', 'gpt-x', '2026-09-14')).toBe('2')
  expect(await usd('openai', 'gpt-x', '2026-09-15')).toBe('1')
  expect((await refresh(...places, ...on(DAY_2))).text).toContain('nothing to write')
  expect((await readTable(out)).version).toBe(`${DAY_2}+1`)
})

test('an error that was corrected is restated for the past, too', async () => {
  await refresh(...places, ...on(DAY_1))
  answers.set('/litellm.json', litellm({ 'acme/slow': { input_cost_per_token: 6e-7 } }))
  expect((await refresh(...places, ...on(DAY_1), '--restate')).code).toBe(0)
  expect(await usd('acme', 'slow', '2026-01-01')).toBe('0.6')
  expect((await readTable(out)).version).toBe(`${DAY_1}+2`)
})

test.each([
  ['ten times the price', { 'acme/slow': { input_cost_per_token: 5e-6 } }, 'acme slow: input 0.5 → 5'],
  ['a hundredth of it', { 'acme/fast': { output_cost_per_token: 4e-8 } }, 'acme fast: output 4 → 0.04'],
  ['an output for nothing', { 'acme/fast': { output_cost_per_token: 0 } }, 'acme fast: output 4 → 0'],
])('%s is refused, until a person says yes', async (_, change, doubt) => {
  await refresh(...places, ...on(DAY_1))
  const before = await readFile(out, 'utf8')
  answers.set('/litellm.json', litellm(change))
  const refused = await refresh(...places, ...on(DAY_2))
  expect(refused.code).toBe(1)
  expect(refused.text).toContain(`doubtful: ${doubt}`)
  expect(await readFile(out, 'utf8')).toBe(before)
  expect((await refresh(...places, ...on(DAY_2), '--yes', '--check')).code).toBe(0)
  expect(await readFile(out, 'utf8')).toBe(before)
  expect((await refresh(...places, ...on(DAY_2), '--yes')).code).toBe(0)
  expect(await readFile(out, 'utf8')).not.toBe(before)
})

test('a price that no model has is left out', async () => {
  answers.set('/litellm.json', litellm({ 'acme/slow': { input_cost_per_token: 0.015 } }))
  await refresh(...places, ...on(DAY_1))
  expect(await usd('acme', 'slow', DAY_1)).toBeUndefined()
})

test('a source that cannot be read changes nothing and says so', async () => {
  await refresh(...places, ...on(DAY_1))
  const before = await readFile(out, 'utf8')
  answers.delete('/genai.json')
  const failed = await refresh(...places, ...on(DAY_2))
  expect(failed).toMatchObject({
    code: 1,
    text: expect.stringContaining('/genai.json answered 404') as string,
  })
  const away = await refresh('--litellm', 'http://127.0.0.1:1/x', '--genai', 'http://127.0.0.1:1/y')
  expect(away).toMatchObject({ code: 1, text: expect.stringContaining('give a file instead') as string })
  expect(await readFile(out, 'utf8')).toBe(before)
})

test('the table that comes with weir is what the command makes of the shared collections', async (ctx) => {
  if (!existsSync(SHARED)) ctx.skip('the shared test data is not beside this checkout')
  await copyFile(BUILT_IN, out)
  const sources = ['--litellm', `${SHARED}prices.csv`, '--genai', `${SHARED}genai-prices-0.1.8.json.gz`]
  const dates = ['--litellm-date', '2026-08-01', '--genai-date', '2026-09-23']
  for (const more of [[], ['--restate']]) {
    const { code, text } = await refresh(...sources, ...dates, ...more)
    expect(code).toBe(0)
    expect(text).toMatch(/^\d{4} models: 0 added, 0 removed, 0 with another price\nnothing to write\n$/)
  }
})
