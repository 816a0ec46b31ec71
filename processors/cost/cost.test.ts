import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { NO_USAGE } from '../../pipeline/usage/usage.ts'
import { COSTS, TOKENS, type SpanFacts } from '../../pipeline/batch/facts.ts'
import { usdText } from '../../pipeline/genai/decimal.ts'
import { factsOf } from '../../pipeline/genai/facts-of.ts'
import type { Labels, Meter } from '../../pipeline/telemetry/meter.ts'
import { batchOf, costsOf, statusOf, type Attributes, type SpanSketch } from '../../test/genai/spans.ts'
import { config } from './config.ts'
import { CostProcessor } from './cost.ts'
import { cost } from './factory.ts'

const costMaker = await cost.load()

/** What was added to each counter, by name and labels. */
function recorder(): { meter: Meter; sums: Map<string, number> } {
  const sums = new Map<string, number>()
  const add =
    (name: string) =>
    (value: number, labels: Labels = {}) => {
      const key = [name, ...Object.values(labels)].join(' ')
      sums.set(key, (sums.get(key) ?? 0) + value)
    }
  const unused = (): never => {
    throw new Error('cost has only counters')
  }
  return { meter: { counter: (name) => ({ add: add(name) }), gauge: unused, histogram: unused }, sums }
}

async function priced(settings: object, ...spans: SpanSketch[]): Promise<SpanFacts> {
  const processor = new CostProcessor(config.parse(settings), { meter: recorder().meter, usage: NO_USAGE })
  await processor.start()
  const batch = batchOf(...spans)
  processor.process(batch)
  return factsOf(batch)
}

function call(model: string, input: number, output: number, more: Attributes = {}): SpanSketch {
  return {
    attributes: {
      'gen_ai.operation.name': 'chat',
      'gen_ai.response.model': model,
      'gen_ai.usage.input_tokens': input,
      'gen_ai.usage.output_tokens': output,
      ...more,
    },
  }
}

const usd = (facts: SpanFacts, row = 0): string => usdText(costsOf(facts, row).CostUsd)

describe('what a call costs depends on', () => {
  const at = (start: string, span: SpanSketch): SpanSketch => ({ ...span, start })

  test('its date: the span’s own start, to the day', async () => {
    const span = call('gpt-5.6-sol', 1_000_000, 0)
    expect(usd(await priced({}, at('2026-08-20T23:59:59.999Z', span)))).toBe('10')
    expect(usd(await priced({}, at('2026-08-21T00:00:00Z', span)))).toBe('8')
  })

  test('its hour, where the provider has hours', async () => {
    const span = call('deepseek-v4-flash', 1_000_000, 0)
    expect(usd(await priced({}, at('2026-08-16T02:00:00Z', span)))).toBe('0.14')
    expect(usd(await priced({}, at('2026-08-18T02:00:00Z', span)))).toBe('0.44')
    expect(usd(await priced({}, at('2026-08-18T04:00:00Z', span)))).toBe('0.22')
  })

  test('its size: strictly over the threshold, at it for xAI', async () => {
    expect(usd(await priced({}, call('gemini-2.5-pro', 200_000, 0)))).toBe('0.25')
    expect(usd(await priced({}, call('gemini-2.5-pro', 200_001, 0)))).toBe('0.5000025')
    const grok = async (input: number) => Number(usd(await priced({}, call('grok-4-fast', input, 0)))) / input
    expect(await grok(128_000)).toBeGreaterThan(await grok(127_999))
  })

  test('its size, for writes that live an hour, too', async () => {
    const span = (input: number, written: number) =>
      call('claude-sonnet-4-5', input, 0, {
        'gen_ai.provider.name': 'gcp.vertex_ai',
        'gen_ai.usage.cache_creation.ephemeral_1h_input_tokens': written,
      })
    expect(usd(await priced({}, span(100_000, 100_000)))).toBe('0.6')
    expect(usd(await priced({}, span(300_000, 300_000)))).toBe('3.6')
  })

  test('its range, the whole request at one rate', async () => {
    const qwen = { 'gen_ai.provider.name': 'dashscope' }
    expect(usd(await priced({}, call('qwen-flash', 256_000, 0, qwen)))).toBe('0.0128')
    expect(usd(await priced({}, call('qwen-flash', 256_001, 0, qwen)))).toBe('0.06400025')
  })

  test.each([
    ['standard', '0.01125'],
    ['flex', '0.005625'],
    ['priority', '0.0225'],
    ['batch', '0.005625'],
    ['auto', '0.01125'],
  ])('its service tier: %s', async (tier, expected) => {
    const facts = await priced({}, call('gpt-5', 1000, 1000, { 'gen_ai.response.service_tier': tier }))
    expect(usd(facts)).toBe(expected)
  })

  test('cached tokens keep their discount in every service tier', async () => {
    const cached = { 'gen_ai.usage.cache_read.input_tokens': 1_000_000 }
    const cost = async (tier: string) =>
      usd(await priced({}, call('gpt-5', 1_000_000, 0, { ...cached, 'gen_ai.response.service_tier': tier })))
    expect([await cost('standard'), await cost('flex'), await cost('priority')]).toEqual([
      '0.125',
      '0.0625',
      '0.25',
    ])
  })

  test('where it was processed', async () => {
    const facts = await priced(
      {},
      call('gpt-5.6-sol', 1_000_000, 0, { 'server.address': 'eu.api.openai.com' }),
    )
    expect(usd(facts)).toBe('11')
  })

  test('the lifetime of what it wrote to a cache', async () => {
    const facts = await priced(
      {},
      call('claude-sonnet-4-5', 3000, 0, {
        'gen_ai.usage.cache_write.input_tokens': 3000,
        'gen_ai.usage.cache_write.input_tokens.ephemeral_1h': 1000,
      }),
    )
    expect(costsOf(facts).CostCacheWriteUsd).toBe(2000n * 3_750_000n + 1000n * 6_000_000n)
  })
})

describe('a model is found', () => {
  test.each([
    ['', 'gpt-4o-2024-08-06', 'gpt-4o-2024-08-06'],
    ['openai', 'gpt-5-2025-08-07', 'gpt-5-2025-08-07'],
    ['azure.ai.openai', 'gpt-4o', 'gpt-4o'],
    [
      'aws.bedrock',
      'us.anthropic.claude-sonnet-4-5-20250929-v1:0',
      'us.anthropic.claude-sonnet-4-5-20250929-v1:0',
    ],
    [
      'aws.bedrock',
      'arn:aws:bedrock:us-east-1:123456789012:inference-profile/eu.anthropic.claude-3-haiku-20240307-v1:0',
      'eu.anthropic.claude-3-haiku-20240307-v1:0',
    ],
    ['gcp.vertex_ai', 'publishers/google/models/gemini-2.5-flash', 'gemini-2.5-flash'],
    ['gcp.gemini', 'models/gemini-2.5-flash', 'gemini-2.5-flash'],
    ['anthropic', 'claude-sonnet-4.5', 'claude-sonnet-4-5'],
    // A client called openai at another endpoint, and a gateway of nobody's list: the maker's price, said so.
    ['openai', 'claude-sonnet-4-5', 'anthropic/claude-sonnet-4-5'],
    ['acme-gateway', 'gpt-4o', 'openai/gpt-4o'],
    ['openrouter', 'openai/gpt-5-mini', 'openai/gpt-5-mini'],
    ['openrouter', 'google/gemini-2.0-flash-exp:free', ':free'],
  ])('%s %s is %s', async (provider, model, id) => {
    const facts = await priced({}, call(model, 1000, 10, { 'gen_ai.provider.name': provider }))
    expect([statusOf(facts), facts.priceModel.at(0), facts.costReason.at(0)]).toEqual(['computed', id, ''])
  })

  test('by the response, else by the request', async () => {
    const renamed = call('my-deployment', 1_000_000, 0, { 'gen_ai.request.model': 'gpt-4o' })
    expect((await priced({}, renamed)).priceModel.at(0)).toBe('gpt-4o')
    const routed = call('gpt-4o-mini', 1_000_000, 0, { 'gen_ai.request.model': 'gpt-4o' })
    expect((await priced({}, routed)).priceModel.at(0)).toBe('gpt-4o-mini')
  })
})

describe('what cannot be priced says why and costs nothing', () => {
  const unpriced: [string, SpanSketch, string][] = [
    ['an unknown model', call('nobodys-model', 5, 5), 'unknown_model'],
    [
      'a model on one’s own machine',
      call('gpt-oss:20b', 5, 5, { 'gen_ai.provider.name': 'ollama' }),
      'unknown_model',
    ],
    [
      'no model',
      { attributes: { 'gen_ai.operation.name': 'chat', 'gen_ai.usage.input_tokens': 5 } },
      'no_model',
    ],
    [
      'no tokens',
      { attributes: { 'gen_ai.operation.name': 'chat', 'gen_ai.request.model': 'gpt-4o' } },
      'no_tokens',
    ],
    ['only zeros', call('gpt-4o', 0, 0), 'no_tokens'],
    ['a prototype’s name', call('__proto__', 5, 5), 'unknown_model'],
  ]
  test.each(unpriced)('%s', async (_, span, reason) => {
    const facts = await priced({}, span)
    expect([statusOf(facts), facts.costReason.at(0), usd(facts)]).toEqual(['unpriced', reason, '0'])
    expect(facts.priceVersion.at(0)).toBe('')
  })

  test('a span that is no model call has no status', async () => {
    const facts = await priced({}, { attributes: { 'gen_ai.operation.name': 'execute_tool' } })
    expect(statusOf(facts)).toBe('none')
  })

  test('the sender’s own cost stands beside a computed one, and in for a missing one', async () => {
    const given = { 'gen_ai.usage.cost': 0.5 }
    const both = await priced({}, call('gpt-4o', 1_000_000, 0, given))
    expect([statusOf(both), usd(both), both.costProvided[0]]).toEqual(['computed', '2.5', 500_000_000_000n])
    const one = await priced({}, call('nobodys-model', 5, 5, given))
    expect([statusOf(one), usd(one), one.costReason.at(0)]).toEqual(['provided', '0.5', 'unknown_model'])
  })

  test('counts that cannot be true', async () => {
    const facts = await priced(
      { overrides: [{ model: 'm', input: 999_999_999, output: 1 }] },
      call('m', 4_294_967_295, 0),
    )
    expect([statusOf(facts), facts.costReason.at(0), usd(facts)]).toEqual(['unpriced', 'out_of_range', '0'])
  })
})

describe('overrides', () => {
  const overrides = [
    { model: 'gpt-4o', input: 1, output: '2.5', cache_read: 0.25 },
    { tenant: 'acme', model: 'gpt-4o', input: 0.5, output: 1 },
    { model: 'house-*', provider: 'vllm', input: 0.1, output: 0.1, from: '2026-01-01', to: '2026-07-01' },
  ]

  test('come before the table, a tenant’s own first', async () => {
    const span = call('gpt-4o', 1_000_000, 1_000_000)
    const [everybody, acme] = [
      await priced({ overrides }, span),
      await priced({ overrides }, { ...span, tenant: 'acme' }),
    ]
    expect([usd(everybody), usd(acme)]).toEqual(['3.5', '1.5'])
    expect(everybody.priceVersion.at(0)).toBe('override')
  })

  test('take a deployment by the model that was asked for, in the order written', async () => {
    const deployment = { model: 'team-a-prod', input: 3, output: 3 }
    const span = call('gpt-4o', 1_000_000, 0, { 'gen_ai.request.model': 'team-a-prod' })
    expect(usd(await priced({ overrides: [deployment, ...overrides] }, span))).toBe('3')
    expect(usd(await priced({ overrides: [...overrides, deployment] }, span))).toBe('1')
    const other = call('gpt-4o', 1_000_000, 0, { 'gen_ai.request.model': 'team-b-prod' })
    expect(usd(await priced({ overrides: [deployment] }, other))).toBe('2.5')
  })

  test('hold for their provider and dates only', async () => {
    const span = call('house-7b', 1_000_000, 0, { 'gen_ai.provider.name': 'vllm' })
    expect(usd(await priced({ overrides }, { ...span, start: '2026-06-30T23:00:00Z' }))).toBe('0.1')
    const later = await priced({ overrides }, { ...span, start: '2026-07-01T00:00:00Z' })
    expect([statusOf(later), later.costReason.at(0)]).toEqual(['unpriced', 'no_price_for_date'])
    const other = await priced(
      { overrides },
      call('house-7b', 1_000_000, 0, { 'gen_ai.provider.name': 'tgi' }),
    )
    expect(other.costReason.at(0)).toBe('unknown_model')
  })

  test('know a provider by any of its names', async () => {
    const named = [{ provider: 'Bedrock', model: 'house', input: 1, output: 1 }]
    const span = call('house', 1_000_000, 0, { 'gen_ai.provider.name': 'amazon-bedrock' })
    const facts = await priced({ overrides: named }, span)
    expect([usd(facts), facts.priceModel.at(0)]).toEqual(['1', 'house'])
  })

  test.each([
    { overrides: [{ model: 'm', input: -1, output: 1 }] },
    { overrides: [{ model: 'm' }] },
    { overrides: [{ model: 'm', input: 1, output: 1, tenant: 'ACME' }] },
    { overrides: [{ model: 'm', input: 1, output: 1, from: '2026-02-01', to: '2026-01-01' }] },
    { unknown: 1 },
  ])('%j is refused', (settings) => expect(config.safeParse(settings).success).toBe(false))

  test('a price file that cannot be used stops the start and is named', async () => {
    const processor = new CostProcessor(config.parse({ price_file: '/nowhere/prices.json' }), {
      meter: recorder().meter,
      usage: NO_USAGE,
    })
    await expect(processor.start()).rejects.toMatchObject({
      code: 'START_FAILED',
      message: expect.stringContaining('/nowhere/prices.json') as unknown,
    })
  })
})

test.each([
  ['from', [{ input: '1', output: '1', from: '2026-13-01' }]],
  ['hours', [{ input: '1', output: '1', hours: ['9', '17:00'] }]],
  ['tiers', [{ input: '1', output: '1', tiers: [{ over: 2 }, { over: 1 }] }]],
])('a price file that a person got wrong is refused: %s', async (place, periods) => {
  const directory = await mkdtemp(join(tmpdir(), 'weir-prices-'))
  try {
    const path = join(directory, 'prices.json')
    await writeFile(path, JSON.stringify({ version: 'mine', models: [{ provider: 'p', id: 'm', periods }] }))
    const context = { meter: recorder().meter, usage: NO_USAGE }
    const start = new CostProcessor(config.parse({ price_file: path }), context).start()
    await expect(start).rejects.toMatchObject({ message: expect.stringContaining(place) as unknown })
  } finally {
    await rm(directory, { recursive: true })
  }
})

describe('counters', () => {
  test('one addition per batch and model; none behind a further exporter', async () => {
    for (const counts of [true, false]) {
      const { meter, sums } = recorder()
      const processor = new CostProcessor(config.parse({}), { meter, counts, usage: NO_USAGE })
      await processor.start()
      processor.process(
        batchOf(call('gpt-4o', 1000, 0), call('gpt-4o', 1000, 10), call('nobodys-model', 1, 1)),
      )
      expect(Object.fromEntries(sums)).toEqual(
        counts
          ? {
              'weir_cost_usd openai gpt-4o': 0.0051,
              'weir_tokens openai gpt-4o InputTokens': 2000,
              'weir_tokens openai gpt-4o OutputTokens': 10,
              'weir_tokens  nobodys-model InputTokens': 1,
              'weir_tokens  nobodys-model OutputTokens': 1,
              'weir_unpriced_spans unknown_model  nobodys-model': 1,
            }
          : {},
      )
    }
  })

  test('senders cannot make labels without end', async () => {
    const { meter, sums } = recorder()
    const processor = new CostProcessor(config.parse({}), { meter, usage: NO_USAGE })
    await processor.start()
    processor.process(batchOf(...Array.from({ length: 2000 }, (_, n) => call(`made-up-${n}`, 1, 0))))
    expect(sums.size).toBeLessThan(1100)
  })
})

describe('properties', () => {
  const tokens = fc.integer({ min: 0, max: 5_000_000 })
  const model = fc.constantFrom(
    'gpt-4o',
    'claude-sonnet-4-5',
    'gemini-2.5-pro',
    'deepseek-v4-pro',
    'grok-4',
    'gpt-5.6-sol',
  )
  const span = fc.record({
    model,
    input: tokens,
    output: tokens,
    read: tokens,
    write: tokens,
    reasoning: tokens,
  })

  test('the total is the sum of its parts, none is negative, and a second run gives the same', async () => {
    const processor = costMaker.create(config.parse({}), { meter: recorder().meter } as never)
    await processor.start?.()
    fc.assert(
      fc.property(span, ({ model: name, input, output, read, write, reasoning }) => {
        const sketch = call(name, input, output, {
          'gen_ai.usage.cache_read.input_tokens': read,
          'gen_ai.usage.cache_write.input_tokens': write,
          'gen_ai.usage.reasoning.output_tokens': reasoning,
          'server.address': 'eu.api.openai.com',
        })
        const [first, second] = [batchOf(sketch), batchOf(sketch)]
        void processor.process(first)
        void processor.process(second)
        const [a, b] = [factsOf(first), factsOf(second)]
        const { CostUsd, ...parts } = costsOf(a)
        expect(Object.values(parts).reduce((sum, part) => sum + part, 0n)).toBe(CostUsd)
        expect(Object.values(parts).every((part) => part >= 0n)).toBe(true)
        expect([...b.cost]).toEqual([...a.cost])
        expect(a.cost.length).toBe(COSTS.length)
        expect(a.tokens.length).toBe(TOKENS.length)
      }),
      { numRuns: 200 },
    )
  })
})
