import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import { TOKENS, type SpanFacts } from '../../pipeline/batch/facts.ts'
import { factsOf } from '../../pipeline/genai/facts-of.ts'
import { batchOf, statusOf, type Attributes, type SpanSketch } from '../../test/genai/spans.ts'
import { costProcessor } from '../../test/genai/pricing.ts'

function call(more: Attributes): SpanSketch {
  return { attributes: { 'gen_ai.operation.name': 'chat', ...more } }
}

function used(provider: string, model: string): SpanSketch {
  return call({
    'gen_ai.provider.name': provider,
    'gen_ai.request.model': model,
    'gen_ai.usage.input_tokens': 5,
    'gen_ai.usage.output_tokens': 5,
  })
}

async function priced(...spans: SpanSketch[]): Promise<SpanFacts> {
  const processor = await costProcessor()
  const batch = batchOf(...spans)
  processor.process(batch)
  return factsOf(batch)
}

test.each(['constructor', '__proto__'])('a provider named %s is nobody, like any other', async (name) => {
  const facts = await priced(used(name, 'gpt-4o'), used('openai', 'gpt-4o'))
  expect([statusOf(facts, 0), facts.priceModel.at(0)]).toEqual(['computed', 'openai/gpt-4o'])
  expect(statusOf(facts, 1)).toBe('computed')
})

test('names that senders make up are not kept', async () => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const overrides = [{ model: 'house', input: 1, output: 1 }]
  const processor = await costProcessor({ overrides })
  const feed = (from: number, to: number): void => {
    for (let each = from; each < to; each++) {
      const name = `${each} `.padEnd(100_000, 'x')
      processor.process(batchOf(used('openai', name), used(name, `m${each}`)))
    }
  }
  feed(0, 20)
  collect()
  const before = process.memoryUsage().heapUsed
  feed(20, 170)
  collect()
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(10_000_000)
})

test('a provided cost that the column cannot hold is none; a malformed one leaves it to the next source', async () => {
  const details = (parts: number): SpanSketch => {
    const costs = Object.fromEntries(Array.from({ length: parts }, (_, part) => [`part${part}`, 900_000]))
    return call({ 'langfuse.observation.cost_details': JSON.stringify(costs) })
  }
  const facts = await priced(
    details(1),
    details(2),
    details(21),
    call({ 'gen_ai.usage.input_cost': 600_000, 'gen_ai.usage.output_cost': 600_000 }),
    call({ 'gen_ai.usage.cost': 'n/a', 'gen_ai.usage.input_cost': 0.5 }),
  )
  expect([...facts.costProvided]).toEqual([900_000n * 10n ** 12n, -1n, -1n, -1n, 5n * 10n ** 11n])
})

test('counts that the columns cannot hold are none', async () => {
  const usage = { prompt_tokens: 4_294_967_295, completion_tokens: 4_294_967_295, citation_tokens: 7 }
  const facts = await priced(
    call({ 'gen_ai.request.model': 'sonar', 'genkit:output': JSON.stringify({ usage }) }),
  )
  expect([...facts.tokens]).toEqual(TOKENS.map(() => 0))
  expect(facts.costReason.at(0)).toBe('no_tokens')
})
