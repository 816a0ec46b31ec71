import { expect, test } from 'vitest'
import { stale, unargued, type Agreement, type Argued } from '../../test/genai/agreement.ts'
import { ARGUED, compareTraces } from '../../test/genai/expected-traces.ts'
import { ARGUED_CASES, compareMapping } from '../../test/genai/mapping-cases.ts'
import { builtInBook, costProcessor } from '../../test/genai/pricing.ts'
import { ARGUED_USAGES, compareUsages } from '../../test/genai/provider-usages.ts'
import { sharedData } from '../../test/genai/spans.ts'
import { compareVectors } from '../../test/genai/vectors.ts'

/** The mapping and the prices against what others made of the same data. Every difference is argued, every argument needed. */

const ABSENT = 'the shared test data is not beside this checkout'

function agrees(agreement: Agreement, argued: Argued, atLeast: number): void {
  expect(unargued(agreement, argued)).toEqual([])
  expect(stale(agreement, argued)).toEqual([])
  expect(agreement.compared).toBeGreaterThanOrEqual(atLeast)
}

test('every worked vector is exact to the last decimal', async (ctx) => {
  const text = sharedData('cost/vectors.json') ?? ctx.skip(ABSENT)
  agrees(compareVectors(text, await costProcessor()), {}, 15)
})

test('551 real provider payloads: usage and prices', async (ctx) => {
  const text = sharedData('cost/provider-usages.json.gz') ?? ctx.skip(ABSENT)
  const agreement = compareUsages(text, await builtInBook())
  agrees(agreement, ARGUED_USAGES, 1500)
  expect(agreement.payloads).toBe(551)
  expect(agreement.agreed / agreement.payloads).toBeGreaterThan(0.98)
})

test('the public mapping cases: tokens, kinds, models, tools, sessions, users', (ctx) => {
  const text = sharedData('traces/otlp/mapping-cases.json') ?? ctx.skip(ABSENT)
  agrees(compareMapping(text), ARGUED_CASES, 30)
})

test('real traces of eight frameworks: model, tokens and cost as Langfuse derived them', async (ctx) => {
  const text = sharedData('traces/otlp/expected.jsonl') ?? ctx.skip(ABSENT)
  const read = (file: string) => sharedData(`traces/otlp/${file}`)
  agrees(compareTraces(text, read, await costProcessor()), ARGUED, 58)
})
