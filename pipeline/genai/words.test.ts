import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { batchOf, type Attributes } from '../../test/genai/spans.ts'
import { IdColumn, TextColumn } from '../batch/fact-columns.ts'
import type { SpanFacts } from '../batch/facts.ts'
import { keyId } from '../batch/keys.ts'
import { factsOf } from './facts-of.ts'
import { SOURCES } from './fields.ts'

const KEYS = Object.values(SOURCES).flat()
const TEXTS =
  'llm chat embedding tool execute_tool invoke_agent ai.generateText.doGenerate ai.x tools/call model gpt-4o ' +
  'claude-3 openai Anthropic auto flex ["stop"] us 7 us.api.openai.com {"input":4} {"usage":{"input_tokens":3}}'
const VALUES: readonly Attributes[string][] = [
  ...TEXTS.split(' '),
  'x'.repeat(70),
  '',
  0,
  9,
  true,
  ['stop'],
  ['length'],
]

function plain(facts: SpanFacts): unknown {
  return Object.entries(facts).map(([name, column]: [string, unknown]) => {
    const texts = column instanceof TextColumn || column instanceof IdColumn ? column : undefined
    return [
      name,
      texts === undefined ? column : Array.from({ length: facts.rows }, (_, row) => texts.at(row)),
    ]
  })
}

/** What was edited is decided span by span, from the batch; what came as it is goes by what was decided before. */
function expectAlike(spans: readonly Attributes[]): void {
  const sketches = spans.map((attributes) => ({ attributes }))
  const edited = batchOf(...sketches)
  edited.set(0, keyId('edited'), true)
  expect(plain(factsOf(batchOf(...sketches)))).toEqual(plain(factsOf(edited)))
}

test.each<Attributes>([
  {},
  { 'gen_ai.operation.name': 'chat', 'gen_ai.request.model': 'gpt-4o', 'gen_ai.usage.input_tokens': 3 },
  { 'traceloop.span.kind': 'tool', 'traceloop.entity.name': 'search' },
  { 'ai.operationId': 'ai.generateText.doGenerate', 'ai.model.id': 'x', 'ai.usage.cachedInputTokens': 2 },
])('beside %j a span of each key and value means the same after others', (base) => {
  expectAlike(KEYS.flatMap((key) => VALUES.map((value) => ({ ...base, [key]: value }))))
})

test('so do spans of any keys and values', () => {
  const span = fc
    .array(fc.tuple(fc.constantFrom(...KEYS), fc.constantFrom(...VALUES)), { maxLength: 10 })
    .map((pairs): Attributes => Object.fromEntries(pairs))
  fc.assert(fc.property(fc.array(span, { minLength: 2, maxLength: 8 }), expectAlike), {
    numRuns: Number(process.env['FUZZ_COUNT'] ?? 100),
  })
})
