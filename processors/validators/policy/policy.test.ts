import { describe, expect, it } from 'vitest'
import { decodeJsonBatch } from '../../../pipeline/batch/otlp-batch.ts'
import { config } from './config.ts'
import { policy } from './factory.ts'
import { testMeta } from '../../../test/support/batch-meta.ts'

const policyMaker = await policy.load()

const meta = testMeta()

type Given = Readonly<Record<string, object>>

const text = (stringValue: string) => ({ stringValue })
const int = (intValue: number) => ({ intValue })

function batchOf(...spans: Given[]) {
  const resource = { attributes: [{ key: 'service.name', value: text('shop') }] }
  const made = spans.map((attributes) => ({
    name: 'call',
    startTimeUnixNano: '1000000000',
    endTimeUnixNano: '3500000000',
    status: { code: 2 },
    attributes: Object.entries(attributes).map(([key, value]) => ({ key, value })),
  }))
  const document = { resourceSpans: [{ resource, scopeSpans: [{ spans: made }] }] }
  return decodeJsonBatch(Buffer.from(JSON.stringify(document)), meta)
}

function broken(when: string, ...spans: Given[]): number[] {
  const rows: number[] = []
  const settings = config.parse({ rules: [{ name: 'rule', when }] })
  policyMaker.create(settings).judge?.(batchOf(...spans), (row) => rows.push(row))
  return rows
}

describe('a rule over spans', () => {
  it('reads attributes of every type, of the span and of its resource', () => {
    const span = {
      's.t': text('täxt'),
      i: int(7),
      d: { doubleValue: 0.5 },
      b: { boolValue: true },
      l: { arrayValue: { values: [text('x'), text('y')] } },
    }
    for (const when of [
      'attributes["s.t"] == "täxt" && attributes.i == 7 && attributes.d < 1.0 && attributes.b',
      'attributes.l.exists(item, item == "y")',
      'resource["service.name"].startsWith("sh")',
      'attributes["s.t"].matches("t.+t")',
      'span.name == "call" && span.status == "error" && span.duration_ms == 2500.0 && span.bytes > 10',
    ]) {
      expect(broken(when, span), when).toEqual([0])
    }
  })

  it('reads what spans mean, whoever wrote them', () => {
    const call = {
      'gen_ai.operation.name': text('chat'),
      'gen_ai.request.model': text('gpt-4o'),
      'gen_ai.usage.input_tokens': int(9000),
      'gen_ai.usage.output_tokens': int(12),
    }
    expect(
      broken('span.operation == "chat" && span.model == "gpt-4o" && span.input_tokens > 8000', call, {}),
    ).toEqual([0])
    expect(broken('span.output_tokens > 100', call)).toEqual([])
  })

  it('is not broken where something is absent or of another type', () => {
    expect(broken('attributes["n"] > 5', {}, { n: text('x') }, { n: int(6) })).toEqual([2])
    expect(broken('!("n" in attributes)', {}, { n: int(1) }, {})).toEqual([0, 2])
    expect(broken('!has(attributes.n) || attributes.n > 5', {}, { n: int(1) }, { n: int(6) })).toEqual([0, 2])
    // One side of a `&&` that is false is enough for its being false.
    expect(broken('!(attributes.n == 1 && attributes.m == 1)', { n: int(2) }, { n: int(1) }, {})).toEqual([0])
    expect(broken('(attributes.m == 1 && attributes.n == 1) == false', { n: int(2) })).toEqual([0])
    // Absent in the one branch, there in the other.
    expect(broken('("n" in attributes) ? attributes["n"] > 5 : true', {}, { n: int(1) })).toEqual([0])
  })

  it('takes linear time for any text', () => {
    const when = 'attributes["t"].matches("(a+)+$")'
    const took = (length: number) => {
      const from = performance.now()
      expect(broken(when, { t: text(`${'a'.repeat(length)}!`) })).toEqual([])
      return performance.now() - from
    }
    took(1000)
    // Backtracking would take 2^30000 steps.
    expect(took(30_000)).toBeLessThan(5000)
  })
})

describe('a rule that cannot work is refused when the config is read', () => {
  it.each([
    ['attributes["a"] >', 'token'],
    ['1 + 1', 'must be true or false'],
    ['nothing.at == 1', 'nothing'],
    ['span.modell == "x"', 'span has no modell; it has name'],
    ['attributes.http.status == 1', 'write attributes["http.status"]'],
    ['attributes.exists(k, k == "x")', 'attributes is read by key'],
    ['attributes.a.matches(attributes.b)', 'linear time'],
    ['attributes.a.matches("(?=x)")', 'linear time'],
    ['attributes.a.exists(x, attributes.a.exists(y, x == y))', 'within another loop'],
    ['attributes.a.split("").all(x, attributes.a.contains(x))', 'split and a loop'],
    ['bytes(attributes.a).json().all(x, x == 1)', 'json and a loop'],
    ['span.run == ""', 'span has no run'],
  ])('%s', (when, problem) => {
    const parsed = config.safeParse({ rules: [{ name: 'rule', when }] })
    expect(parsed.error?.issues[0]?.path).toEqual(['rules', 0, 'when'])
    expect(parsed.error?.issues[0]?.message).toContain(problem)
  })
})

it('and so is one that is too long', () => {
  const when = `${'true && '.repeat(200)}true`
  expect(config.safeParse({ rules: [{ name: 'rule', when }] }).error?.issues[0]?.message).toContain('300')
})

it('judges runs', () => {
  const settings = config.parse({
    rules: [
      { name: 'loops', scope: 'run', when: 'run.steps["error"] > 1 && run.actions.exists(a, a == "rm")' },
      { name: 'quiet', scope: 'run', when: 'run.spans < 2' },
    ],
  })
  const step = { parentId: '', name: 'n', startMs: 0, endMs: 5, statusCode: 2, seq: 0, row: 0, spanId: '' }
  const batch = batchOf({})
  const spans = ['error', 'error', 'action_response'].map((kind) => {
    return { ...step, batch, step: kind, action: kind === 'action_response' ? 'rm' : '' }
  })
  const rules: string[] = []
  const run = {
    tenant: 't',
    project: '',
    traceId: '',
    runId: 'r',
    agent: 'a',
    status: 'failed',
    atMs: 0,
  } as const
  policyMaker.create(settings).judgeRun?.({ ...run, spans }, ({ rule }) => rules.push(rule))
  expect(rules).toEqual(['loops'])
})
