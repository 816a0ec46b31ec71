import { ARTIFACT } from '../artifact.ts'
import { valueOf } from './canonical.ts'
import { conversation, DETAILS, listOf } from './messages.ts'
import { requestParams } from './params.ts'
import { firstOf, type EventTexts, type SpanTexts } from './span-texts.ts'
import type { LlmRequest } from './steps.ts'

/**
 * What was said in a model call or a tool call, from the attributes and events of every convention that
 * `pipeline/genai` reads; the first source that is there wins. Below a message keys stay flat:
 * `gen_ai.prompt.0.tool_calls.0.name` is the `tool_calls.0.name` of message 0.
 */

const INPUT = [
  'langfuse.observation.input',
  'ai.prompt.messages',
  'ai.prompt',
  'ai.values',
  'gcp.vertex.agent.llm_request',
  'genkit:input',
  'traceloop.entity.input',
  'mlflow.spanInputs',
  'input.value',
  'gen_ai.prompt',
  'lk.input_text',
  'input',
] as const

const OUTPUT = [
  'langfuse.observation.output',
  'gcp.vertex.agent.llm_response',
  'genkit:output',
  'traceloop.entity.output',
  'mlflow.spanOutputs',
  'output.value',
  'gen_ai.completion',
  'lk.response.text',
  'final_result',
  'output',
] as const

const TOOL_ARGS = [
  'gen_ai.tool.call.arguments',
  'ai.toolCall.args',
  'tool_arguments',
  'gcp.vertex.agent.tool_call_args',
  'lk.function_tool.arguments',
  ...INPUT,
  'tool.parameters',
] as const

const TOOL_RESULT = [
  'gen_ai.tool.call.result',
  'ai.toolCall.result',
  'tool_response',
  'gcp.vertex.agent.tool_response',
  'lk.function_tool.output',
  ...OUTPUT,
] as const

const SYSTEM = ['gen_ai.system_instructions', 'gen_ai.system.instructions', 'llm.system_prompt'] as const
const TOOLS = ['gen_ai.tool.definitions', 'ai.prompt.tools'] as const

/** `provider` and `model` as they were resolved; undefined when the span does not tell what was asked. */
export function llmRequestOf(span: SpanTexts, provider: string, model: string): LlmRequest | undefined {
  const { messages, system } = asked(span)
  const tools = valueFrom(span, TOOLS) ?? listOf(span, 'llm.tools.', 'tool.')
  const request = {
    provider,
    model,
    ...(system !== undefined && { system }),
    ...(messages !== undefined && { messages }),
    ...(tools !== undefined && { tools }),
    params: requestParams(span),
  }
  return messages === undefined && system === undefined ? undefined : request
}

/** What the model answered; undefined when the span does not tell. */
export function llmResponseOf(span: SpanTexts): unknown {
  const said = conversation(span)
  return (
    said.output ??
    listOf(span, 'gen_ai.completion.', '') ??
    listOf(span, 'llm.output_messages.', 'message.') ??
    aiSdkAnswer(span) ??
    valueFrom(span, OUTPUT)
  )
}

export function toolArgsOf(span: SpanTexts): unknown {
  return valueFrom(span, TOOL_ARGS)
}

export function toolResultOf(span: SpanTexts): unknown {
  return valueFrom(span, TOOL_RESULT)
}

/** Of any span, an agent's for instance: what went in, what came out. */
export function outputOf(span: SpanTexts): unknown {
  return conversation(span).output ?? valueFrom(span, OUTPUT)
}

function asked(span: SpanTexts): { readonly messages?: unknown; readonly system?: unknown } {
  const said = conversation(span)
  const system = said.system ?? valueFrom(span, SYSTEM)
  const messages =
    said.input ??
    listOf(span, 'gen_ai.prompt.', '') ??
    listOf(span, 'llm.input_messages.', 'message.') ??
    listOf(span, 'llm.prompts.', 'prompt.') ??
    valueFrom(span, INPUT)
  return { ...(messages !== undefined && { messages }), ...(system !== undefined && { system }) }
}

const ANSWERS: ReadonlySet<string> = new Set([...TOOL_RESULT, 'gen_ai.output.messages'])
const ANSWER_FAMILIES = ['gen_ai.completion.', 'llm.output_messages.', 'ai.response.'] as const
const ANSWER_EVENTS: ReadonlySet<string> = new Set(['gen_ai.choice', 'gen_ai.content.completion'])
const REQUESTS: ReadonlySet<string> = new Set([
  ...TOOL_ARGS,
  ...SYSTEM,
  ...TOOLS,
  'gen_ai.input.messages',
  'toon.meta',
])
const REQUEST_FAMILIES = [
  'gen_ai.prompt.',
  'llm.input_messages.',
  'llm.prompts.',
  'llm.tools.',
  'gen_ai.request.',
] as const

/**
 * Whether something of what was asked, or answered, was moved out of the span as an artifact: what stands in its place is its
 * beginning. Also where another attribute says the same.
 */
export function isMoved(span: SpanTexts, way: 'input' | 'output'): boolean {
  const [keys, families] = way === 'input' ? [REQUESTS, REQUEST_FAMILIES] : [ANSWERS, ANSWER_FAMILIES]
  const isOf = (key: string): boolean => keys.has(key) || families.some((family) => key.startsWith(family))
  return (
    movedKeys(span).some(isOf) ||
    span.events.some((event) => {
      const isAnswer = ANSWER_EVENTS.has(event.name)
      const isMessage = event.name.startsWith('gen_ai.') && event.name !== DETAILS
      return movedKeys(event).some((key) => (isMessage ? isAnswer === (way === 'output') : isOf(key)))
    })
  )
}

function movedKeys({ attributes }: Pick<EventTexts, 'attributes'>): readonly string[] {
  const suffixed = [...attributes.keys()].filter((key) => key.endsWith(ARTIFACT.ref))
  return suffixed.map((key) => key.slice(0, -ARTIFACT.ref.length))
}

/** The AI SDK writes the parts of an answer one by one. */
function aiSdkAnswer(span: SpanTexts): unknown {
  const parts = ['text', 'toolCalls', 'object', 'reasoning', 'files'].flatMap((part) => {
    const value = valueFrom(span, [`ai.response.${part}`])
    return value === undefined ? [] : [[part, value] as const]
  })
  return parts.length === 0 ? undefined : Object.fromEntries(parts)
}

function valueFrom(span: SpanTexts, keys: readonly string[]): unknown {
  const text = firstOf(span, keys)
  return text === undefined ? undefined : valueOf(text)
}
