import { KEY_LIMIT, keyId, keyName, type KeyId } from '../../../pipeline/batch/keys.ts'

/** What an attribute holds. `input` and `output` depend on the span: those of a tool are its arguments and its result. */
export type Place = 'user' | 'tool' | 'document' | 'model' | 'input' | 'output' | 'payload'

/** The attributes of content, by convention (the table of pipeline/genai/content.ts), less what nobody outside wrote. */
const NAMES: ReadonlyMap<string, Place> = new Map<string, Place>([
  ['toon.payload', 'payload'],
  ['gen_ai.prompt', 'user'],
  ['gen_ai.input.messages', 'user'],
  ['gen_ai.content.prompt', 'user'],
  ['llm.prompts', 'user'],
  ['ai.prompt', 'user'],
  ['ai.prompt.messages', 'user'],
  ['pydantic_ai.all_messages', 'user'],
  ['all_messages_events', 'user'],
  ['gcp.vertex.agent.llm_request', 'user'],
  ['langfuse.trace.input', 'user'],
  ['input', 'input'],
  ['input.value', 'input'],
  ['traceloop.entity.input', 'input'],
  ['langfuse.observation.input', 'input'],
  ['mlflow.spanInputs', 'input'],
  ['genkit:input', 'input'],
  ['lk.user_input', 'user'],
  ['lk.user_transcript', 'user'],
  ['gen_ai.tool.call.result', 'tool'],
  ['tool_response', 'tool'],
  ['ai.toolCall.result', 'tool'],
  ['gcp.vertex.agent.tool_response', 'tool'],
  ['lk.function_tool.output', 'tool'],
  ['gen_ai.retrieval.documents', 'document'],
  ['output', 'output'],
  ['output.value', 'output'],
  ['traceloop.entity.output', 'output'],
  ['langfuse.observation.output', 'output'],
  ['mlflow.spanOutputs', 'output'],
  ['genkit:output', 'output'],
  ['gen_ai.completion', 'model'],
  ['gen_ai.output.messages', 'model'],
  ['gen_ai.content.completion', 'model'],
  ['ai.response.text', 'model'],
  ['final_result', 'model'],
  ['langfuse.trace.output', 'model'],
  ['gcp.vertex.agent.llm_response', 'model'],
])

/** Conventions that spread messages over numbered keys; beside each stands its role, in `<message>.role`. */
const NUMBERED: readonly (readonly [pattern: RegExp, place: Place])[] = [
  [/^(gen_ai\.prompt\.\d+)\.content$/, 'user'],
  [/^(llm\.input_messages\.\d+\.message)\.content(?:s\.\d+\.message_content\.text)?$/, 'user'],
  [/^(gen_ai\.completion\.\d+)\.content$/, 'model'],
  [/^(llm\.output_messages\.\d+\.message)\.content(?:s\.\d+\.message_content\.text)?$/, 'model'],
  [/^(retrieval\.documents\.\d+\.document)\.content$/, 'document'],
  [/^(reranker\.(?:in|out)put_documents\.\d+\.document)\.content$/, 'document'],
]

export interface Known {
  readonly place: Place
  /** The attribute that names who wrote it; undefined without one. */
  readonly role: KeyId | undefined
}

const UNKNOWN = 0
const NOTHING = 1
const SOMETHING = 2

/** What each key is, remembered: one look into a table per attribute. */
export class Places {
  readonly #verdicts = new Uint8Array(KEY_LIMIT + 1)
  readonly #known = new Map<number, Known>()

  /** Of an interned key; undefined for what is not judged. */
  of(key: number): Known | undefined {
    const verdict = this.#verdicts[key]!
    if (verdict === NOTHING) return undefined
    return verdict === UNKNOWN ? this.#learn(key) : this.#known.get(key)
  }

  /** Of a key that found no room among the interned ones: it is by its name alone. */
  named(name: string): Known | undefined {
    const found = placeOf(name)
    return found === undefined ? undefined : { place: found.place, role: undefined }
  }

  #learn(key: number): Known | undefined {
    const found = placeOf(keyName(key as KeyId))
    this.#verdicts[key] = found === undefined ? NOTHING : SOMETHING
    if (found === undefined) return undefined
    const known = { place: found.place, role: found.role === '' ? undefined : keyId(found.role) }
    this.#known.set(key, known)
    return known
  }
}

function placeOf(name: string): { readonly place: Place; readonly role: string } | undefined {
  const place = NAMES.get(name)
  if (place !== undefined) return { place, role: '' }
  for (const [pattern, numbered] of NUMBERED) {
    const match = pattern.exec(name)
    if (match !== null) return { place: numbered, role: `${match[1]!}.role` }
  }
  return undefined
}
