import { factsOf } from '../../pipeline/genai/facts-of.ts'
import type { CostProcessor } from '../../processors/cost/cost.ts'
import { Comparison, type Agreement, type Argued } from './agreement.ts'
import { batchOfJson, costsOf, sharedData, tokensOf } from './spans.ts'

/** What Langfuse derived of one span: a line of `traces/otlp/expected.jsonl`. */
interface Expected {
  readonly traceId: string
  readonly spanId: string
  readonly file: string
  readonly type: string
  readonly model: string | null
  readonly usageDetails: Readonly<Record<string, number>>
  readonly costDetails: Readonly<Record<string, number>>
}

const TOKENIZED =
  'the file holds no token counts: Langfuse counted the text itself, by its own tokenizer. Weir bills only what was reported'

/** Span id → why weir answers otherwise. Every other span must have the same model, tokens and cost. */
export const ARGUED: Argued = {
  b38a82eaa62b551e:
    'the answer in output.value has the provider’s usage (663/225); Langfuse counted the text instead',
  ca136de468e156c9:
    'the answer in output.value has the provider’s usage (163/20); Langfuse counted the text instead',
  '52df0f7f9dad6b23': TOKENIZED,
  '4c5c5a7936ca24bc': TOKENIZED,
  '1f956cbea34725bd': TOKENIZED,
  e44e72cf2d221781: TOKENIZED,
  '042f9350c3729147': TOKENIZED,
  c6b8d4db5f0eac82: TOKENIZED,
  '026d1c61bcaa1743':
    'an agent’s run: its tokens are those of the chat span under it, which has the same 631/35',
  '1dc6768109615657': 'ai.generateText is the run around ai.generateText.doGenerate: the same call twice',
  '125abcbf5c41f4df':
    'total 2023 − 5 − 845: Gemini’s 1173 thoughts are billed as output; Langfuse leaves them out, and prices the whole at another model’s rate',
}

export const TRACE_FILES: readonly string[] = [
  'agno-2025-06-11',
  'beeai-2025-08-01',
  'crewai-2025-07-11',
  'koog-2025-08-26',
  'llamaindex-2025-06-05',
  'microsoft-agent-2025-10-14',
  'vercel-aisdk-2025-11-17',
  'vertex-ai-2025-08-01',
]

/** Undefined when the shared test data is not beside this checkout. */
export function expectedSpans(): readonly Expected[] | undefined {
  const text = sharedData('traces/otlp/expected.jsonl')
  return text === undefined ? undefined : spansOf(text)
}

function spansOf(text: string): readonly Expected[] {
  return text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Expected)
}

/** Every span that `expected` has a line for, of the traces that `read` gives by their files' names. Keys: span ids. */
export function compareTraces(
  expected: string,
  read: (file: string) => string | undefined,
  processor: CostProcessor,
): Agreement {
  const comparison = new Comparison()
  const spans = spansOf(expected)
  const actual = new Map<string, string>()
  for (const file of new Set(spans.map((span) => span.file))) {
    const text = read(file.replace(/\.(?:trace|seed)\.json$/, '.otlp.json.gz'))
    if (text !== undefined) for (const [id, answer] of answersOf(text, processor)) actual.set(id, answer)
  }
  for (const span of spans) comparison.add(span.spanId, actual.get(span.spanId), wantedAnswer(span))
  return comparison
}

function answersOf(text: string, processor: CostProcessor): readonly (readonly [string, string])[] {
  const batch = batchOfJson(JSON.parse(text))
  processor.process(batch)
  const facts = factsOf(batch)
  return Array.from({ length: facts.rows }, (_, row) => {
    const { InputTokens: input = 0, OutputTokens: output = 0 } = tokensOf(facts, row)
    const nanoUsd = Math.round(Number(costsOf(facts, row).CostUsd) / 1000)
    const answer = answerText(facts.requestModel.at(row), input, output, nanoUsd)
    return [Buffer.from(batch.spanId(row)).toString('hex'), answer] as const
  })
}

/** A span's answer as one text, to compare by. Langfuse's sums are doubles (0.000842499999): to 1e-9 USD. */
export function answerText(model: string, input: number, output: number, nanoUsd: number): string {
  return JSON.stringify({ model, input, output, nanoUsd })
}

export function wantedAnswer(span: Expected): string {
  const { input = 0, output = 0 } = span.usageDetails
  return answerText(span.model ?? '', input, output, Math.round((span.costDetails['total'] ?? 0) * 1e9))
}
