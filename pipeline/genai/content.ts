/**
 * Attributes that carry what was said: prompts, answers, tool arguments and results, in every convention that
 * notes/llm-telemetry.md section 1 lists. They are larger than other attributes, and some conventions spread them over
 * numbered keys.
 */
const NAMES: ReadonlySet<string> = new Set([
  'toon.payload',
  'gen_ai.prompt',
  'gen_ai.completion',
  'gen_ai.input.messages',
  'gen_ai.output.messages',
  'gen_ai.system_instructions',
  'gen_ai.tool.definitions',
  'gen_ai.tool.call.arguments',
  'gen_ai.tool.call.result',
  'gen_ai.retrieval.documents',
  'gen_ai.evaluation.explanation',
  'gen_ai.event.content',
  'input',
  'output',
  'input.value',
  'output.value',
  'llm.prompts',
  'llm.invocation_parameters',
  'tool.parameters',
  'tool_arguments',
  'tool_response',
  'final_result',
  'all_messages_events',
  'pydantic_ai.all_messages',
  'traceloop.entity.input',
  'traceloop.entity.output',
  'langfuse.observation.input',
  'langfuse.observation.output',
  'langfuse.trace.input',
  'langfuse.trace.output',
  'mlflow.spanInputs',
  'mlflow.spanOutputs',
  'genkit:input',
  'genkit:output',
  'exception.stacktrace',
])

const PREFIXES = [
  'gen_ai.prompt.',
  'gen_ai.completion.',
  'gen_ai.content.',
  'llm.input_messages.',
  'llm.output_messages.',
  'llm.prompt_template.',
  'llm.tools.',
  'retrieval.documents.',
  'reranker.',
  'embedding.embeddings.',
  'ai.prompt',
  'ai.response.',
  'ai.toolCall.',
  'gcp.vertex.agent.',
  'lk.',
] as const

/** True for the whole family of a numbered key, too. */
export function isContent(key: string): boolean {
  return NAMES.has(key) || PREFIXES.some((prefix) => key.startsWith(prefix))
}
