import { sharedData } from './spans.ts'

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
export const ARGUED: Readonly<Record<string, string>> = {
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
  return text
    ?.trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Expected)
}

/** A span's answer as one text, to compare by. Langfuse's sums are doubles (0.000842499999): to 1e-9 USD. */
export function answerText(model: string, input: number, output: number, nanoUsd: number): string {
  return JSON.stringify({ model, input, output, nanoUsd })
}

export function wantedAnswer(span: Expected): string {
  const { input = 0, output = 0 } = span.usageDetails
  return answerText(span.model ?? '', input, output, Math.round((span.costDetails['total'] ?? 0) * 1e9))
}
