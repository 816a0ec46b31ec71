import { asObject } from '../genai/json.ts'
import { valueOf } from './canonical.ts'
import { firstOf, type SpanTexts } from './span-texts.ts'

/** What a call was made with, beside its messages: names as OTel has them, without `gen_ai.request.`. */

const PREFIX = 'gen_ai.request.'
const AI_SDK = 'ai.settings.'
/** Told elsewhere, or not of the request. */
const NOT_PARAMS: ReadonlySet<string> = new Set(['model', 'batch', 'messages', 'tools', 'stream'])

/** The AI SDK's and OpenInference's names → OTel's. */
const NAMES: ReadonlyMap<string, string> = new Map([
  ['temperature', 'temperature'],
  ['topP', 'top_p'],
  ['top_p', 'top_p'],
  ['topK', 'top_k'],
  ['top_k', 'top_k'],
  ['maxTokens', 'max_tokens'],
  ['maxOutputTokens', 'max_tokens'],
  ['max_tokens', 'max_tokens'],
  ['max_completion_tokens', 'max_tokens'],
  ['max_output_tokens', 'max_tokens'],
  ['maxRetries', ''],
  ['presencePenalty', 'presence_penalty'],
  ['frequencyPenalty', 'frequency_penalty'],
  ['stopSequences', 'stop_sequences'],
  ['stop', 'stop_sequences'],
])

export function requestParams(span: SpanTexts): Record<string, unknown> {
  const params = new Map<string, unknown>()
  const add = (name: string, value: unknown): void => {
    const known = NAMES.get(name) ?? name
    if (known !== '' && !NOT_PARAMS.has(known) && !params.has(known)) params.set(known, value)
  }
  for (const [key, text] of span.attributes) {
    if (key.startsWith(PREFIX)) add(key.slice(PREFIX.length), scalarOf(text))
    else if (key.startsWith(AI_SDK)) add(key.slice(AI_SDK.length), scalarOf(text))
  }
  const json = firstOf(span, ['llm.invocation_parameters', 'model_request_parameters'])
  const object = json === undefined ? undefined : asObject(valueOf(json))
  for (const [name, value] of Object.entries(object ?? {})) add(name, value)
  return Object.fromEntries([...params].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)))
}

/** Numbers and booleans came as such; the store keeps their text only. */
function scalarOf(text: string): unknown {
  if (/^-?\d{1,15}(\.\d{1,15})?(e[+-]?\d{1,2})?$/i.test(text)) return Number(text)
  if (text === 'true' || text === 'false') return text === 'true'
  return valueOf(text)
}
