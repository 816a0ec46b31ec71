import { MARK, type Marks } from '../../proto/otlp/signatures.ts'
import { keyId, type KeyId } from '../batch/keys.ts'

/**
 * Canonical field ← source attributes, first non-empty wins: the one table of the mapping (OTel GenAI old and new,
 * OpenInference, OpenLLMetry, Vercel AI SDK, LangSmith, Langfuse, Laminar, Pydantic AI, Google ADK, Genkit, MCP, toon).
 * A key belongs to one field only. `flag`: only its presence counts. `number`: ints, doubles and decimal strings;
 * what is not a number ≥ 0 counts as absent, so that the next source is taken.
 */
const TEXT_FIELDS = {
  langfuseType: ['langfuse.observation.type'],
  openInferenceKind: ['openinference.span.kind'],
  operationName: ['gen_ai.operation.name'],
  langsmithKind: ['langsmith.span.kind'],
  laminarType: ['lmnr.span.type'],
  traceloopKind: ['traceloop.span.kind'],
  requestType: ['llm.request.type'],
  aiOperation: ['ai.operationId', 'operation.name'],
  mcpMethod: ['mcp.method.name'],
  genkitSubtype: ['genkit:metadata:subtype'],
  provider: [
    'gen_ai.provider.name',
    'gen_ai.system',
    'llm.provider',
    'llm.system',
    'langsmith.metadata.ls_provider',
    'ai.model.provider',
    'aisdk.model.provider',
  ],
  requestModel: [
    'gen_ai.request.model',
    'llm.request.model_name',
    'llm.model_name',
    'langsmith.metadata.ls_model_name',
    'ai.model.id',
    'aisdk.model.id',
    'embedding.model_name',
    'reranker.model_name',
    'model',
  ],
  responseModel: [
    'langfuse.observation.model.name',
    'gen_ai.response.model',
    'llm.response.model_name',
    'ai.response.model',
    'llm.response.model',
  ],
  genkitName: ['genkit:name'],
  session: [
    'langfuse.session.id',
    'session.id',
    'gen_ai.conversation.id',
    'traceloop.association.properties.session_id',
    'traceloop.association.properties.conversation_id',
    'lmnr.association.properties.session_id',
    'langsmith.trace.session_id',
    'langsmith.metadata.session_id',
    'langsmith.metadata.thread_id',
    'ai.telemetry.metadata.sessionId',
    'gcp.vertex.agent.session_id',
    'langfuse.trace.metadata.langfuse_session_id',
    'langfuse.observation.metadata.langfuse_session_id',
    'langsmith.metadata.langfuse_session_id',
    'traceloop.association.properties.langfuse_session_id',
  ],
  user: [
    'langfuse.user.id',
    'user.id',
    'enduser.id',
    'traceloop.association.properties.user_id',
    'lmnr.association.properties.user_id',
    'ai.telemetry.metadata.userId',
    'langfuse.trace.metadata.langfuse_user_id',
    'langfuse.observation.metadata.langfuse_user_id',
    'langsmith.metadata.langfuse_user_id',
    'traceloop.association.properties.langfuse_user_id',
  ],
  agent: [
    'gen_ai.agent.name',
    'agent.name',
    'agent_name',
    'graph.node.name',
    'graph.node.id',
    'langgraph.node',
    'langsmith.metadata.langgraph_node',
    'ai.telemetry.functionId',
    'gen_ai.agent.id',
  ],
  entityName: ['traceloop.entity.name'],
  tool: ['gen_ai.tool.name', 'tool.name', 'ai.toolCall.name', 'mcp.tool.name'],
  serviceTier: [
    'gen_ai.response.service_tier',
    'openai.response.service_tier',
    'gen_ai.openai.response.service_tier',
    'anthropic.response.service_tier',
    'gen_ai.request.service_tier',
    'openai.request.service_tier',
    'gen_ai.openai.request.service_tier',
    'anthropic.request.service_tier',
  ],
  finishReason: [
    'gen_ai.response.finish_reasons',
    'gen_ai.response.finish_reason',
    'ai.response.finishReason',
    'llm.finish_reason',
    'gen_ai.completion.0.finish_reason',
    'llm.response.stop_reason',
  ],
  firstToken: ['langfuse.observation.completion_start_time'],
  runId: ['agent.run.id'],
  userAgent: ['ai.request.headers.user-agent'],
  server: ['server.address'],
  geo: ['anthropic.inference_geo', 'gen_ai.response.inference_geo'],
} as const

const NUMBER_FIELDS = {
  input: [
    'gen_ai.usage.input_tokens',
    'gen_ai.usage.prompt_tokens',
    'llm.token_count.prompt',
    'ai.usage.inputTokens',
    'ai.usage.promptTokens',
    'ai.usage.tokens',
    'llm.usage.prompt_tokens',
    'gen_ai.response.prompt_tokens',
  ],
  output: [
    'gen_ai.usage.output_tokens',
    'gen_ai.usage.completion_tokens',
    'llm.token_count.completion',
    'ai.usage.outputTokens',
    'ai.usage.completionTokens',
    'llm.usage.completion_tokens',
    'gen_ai.response.completion_tokens',
  ],
  total: [
    'gen_ai.usage.total_tokens',
    'llm.usage.total_tokens',
    'llm.token_count.total',
    'ai.usage.totalTokens',
  ],
  cacheRead: [
    'gen_ai.usage.cache_read.input_tokens',
    'gen_ai.usage.cache_read_input_tokens',
    'gen_ai.usage.cache_read_tokens',
    'gen_ai.usage.details.cache_read_tokens',
    'gen_ai.usage.details.cache_read_input_tokens',
    'gen_ai.usage.details.cached_tokens',
    'gen_ai.usage.details.cached_content_tokens',
    'gen_ai.usage.input_cached_tokens',
    'llm.token_count.prompt_details.cache_read',
    'ai.usage.inputTokenDetails.cacheReadTokens',
    'ai.usage.cachedInputTokens',
    'llm.usage.cache_read_input_tokens',
  ],
  cacheWrite: [
    'gen_ai.usage.cache_write.input_tokens',
    'gen_ai.usage.cache_creation.input_tokens',
    'gen_ai.usage.cache_creation_input_tokens',
    'gen_ai.usage.cache_write_tokens',
    'gen_ai.usage.details.cache_write_tokens',
    'gen_ai.usage.details.cache_creation_input_tokens',
    'gen_ai.usage.input_cache_creation',
    'llm.token_count.prompt_details.cache_write',
    'ai.usage.inputTokenDetails.cacheWriteTokens',
    'llm.usage.cache_creation_input_tokens',
  ],
  cacheWrite5m: [
    'gen_ai.usage.cache_write.input_tokens.ephemeral_5m',
    'gen_ai.usage.cache_creation.input_tokens.ephemeral_5m',
    'gen_ai.usage.cache_creation.ephemeral_5m_input_tokens',
    'gen_ai.usage.details.ephemeral_5m_input_tokens',
  ],
  cacheWrite1h: [
    'gen_ai.usage.cache_write.input_tokens.ephemeral_1h',
    'gen_ai.usage.cache_creation.input_tokens.ephemeral_1h',
    'gen_ai.usage.cache_creation.ephemeral_1h_input_tokens',
    'gen_ai.usage.details.ephemeral_1h_input_tokens',
  ],
  reasoning: [
    'gen_ai.usage.reasoning.output_tokens',
    'gen_ai.usage.reasoning_tokens',
    'gen_ai.usage.details.reasoning_tokens',
    'gen_ai.usage.details.thoughts_tokens',
    'gen_ai.usage.experimental.reasoning_tokens',
    'llm.token_count.completion_details.reasoning',
    'ai.usage.reasoningTokens',
    'ai.usage.outputTokenDetails.reasoningTokens',
    'llm.usage.reasoning_tokens',
  ],
  audioInput: [
    'gen_ai.usage.audio.input_tokens',
    'gen_ai.usage.details.input_audio_tokens',
    'gen_ai.usage.details.audio_prompt_tokens',
    'gen_ai.usage.input_audio_tokens',
    'llm.token_count.prompt_details.audio',
  ],
  audioOutput: [
    'gen_ai.usage.audio.output_tokens',
    'gen_ai.usage.details.output_audio_tokens',
    'gen_ai.usage.details.audio_candidates_tokens',
    'gen_ai.usage.output_audio_tokens',
    'llm.token_count.completion_details.audio',
  ],
  imageInput: [
    'gen_ai.usage.image.input_tokens',
    'gen_ai.usage.details.input_image_tokens',
    'gen_ai.usage.details.image_prompt_tokens',
    'gen_ai.usage.input_image_tokens',
    'llm.token_count.prompt_details.image',
  ],
  imageOutput: [
    'gen_ai.usage.image.output_tokens',
    'gen_ai.usage.details.output_image_tokens',
    'gen_ai.usage.details.image_candidates_tokens',
    'gen_ai.usage.output_image_tokens',
  ],
  seq: ['toon.seq'],
  firstChunkSeconds: ['gen_ai.response.time_to_first_chunk', 'gen_ai.server.ttft'],
  firstChunkMs: ['ai.response.msToFirstChunk'],
} as const

/** Kept as references and read only for spans that carry a model call: provided costs, payloads, and hints. */
const RAW_FIELDS = {
  langfuseUsage: ['langfuse.observation.usage_details'],
  langfuseCost: ['langfuse.observation.cost_details'],
  cost: [
    'gen_ai.usage.cost',
    'gen_ai.usage.total_cost',
    'operation.cost',
    'llm.cost.total',
    'opencode.llm.cost.total',
    'gen_ai.cost.total_cost',
    'litellm.cost.total',
  ],
  inputCost: ['gen_ai.usage.input_cost', 'llm.cost.prompt', 'gen_ai.cost.input_cost'],
  outputCost: ['gen_ai.usage.output_cost', 'llm.cost.completion', 'gen_ai.cost.output_cost'],
  /** LangSmith: JSON of the parts of the counts. */
  inputDetails: ['gen_ai.usage.input_token_details'],
  outputDetails: ['gen_ai.usage.output_token_details'],
  /** JSON of what the call was made with. */
  parameters: ['llm.invocation_parameters', 'model_request_parameters'],
  providerMetadata: ['ai.response.providerMetadata'],
  payload: ['genkit:output', 'gcp.vertex.agent.llm_response', 'output.value'],
  batch: ['gen_ai.request.batch'],
  /** Only AI SDK ≥ 6 writes these. */
  aiSdkDetails: ['ai.usage.inputTokenDetails.noCacheTokens', 'ai.usage.outputTokenDetails.textTokens'],
  /** A tool call's id without a tool kind. */
  toolCall: ['gen_ai.tool.call.id', 'ai.toolCall.id'],
  /** What Pydantic AI writes on a whole run, with the sum of its calls' tokens. */
  agentRun: ['pydantic_ai.all_messages', 'final_result', 'all_messages_events'],
} as const

export type Field = keyof typeof TEXT_FIELDS | keyof typeof NUMBER_FIELDS | keyof typeof RAW_FIELDS

/** field → its slot in the scan's scratch. Numbers come first, so `slot < NUMBERS` tells them. */
const NAMES = [
  ...Object.keys(NUMBER_FIELDS),
  ...Object.keys(TEXT_FIELDS),
  ...Object.keys(RAW_FIELDS),
] as Field[]
export const NUMBERS: number = Object.keys(NUMBER_FIELDS).length
export const SLOTS: number = NAMES.length
// By way of JSON: V8 gives such an object fixed fields, so that reading one costs nothing; fromEntries makes a dictionary.
export const SLOT = JSON.parse(
  JSON.stringify(Object.fromEntries(NAMES.map((name, index) => [name, index]))),
) as Readonly<Record<Field, number>>

/** Source attributes of each field, in order of preference; the docs' table. */
export const SOURCES: Readonly<Record<Field, readonly string[]>> = {
  ...NUMBER_FIELDS,
  ...TEXT_FIELDS,
  ...RAW_FIELDS,
}

/** keyId → `slot << 8 | rank`, −1 for keys that mean nothing here. Ids past the end mean nothing either. */
export const BY_KEY: Int32Array = (() => {
  const entries = NAMES.flatMap((name, slot) =>
    SOURCES[name].map((key, rank): [KeyId, number] => [keyId(key), (slot << 8) | rank]),
  )
  const table = new Int32Array(Math.max(...entries.map(([id]) => id)) + 1).fill(-1)
  for (const [id, value] of entries) table[id] = value
  return table
})()

/** Texts that are read apart from the others: ids, times, and what software calls itself. */
const APART: ReadonlySet<Field> = new Set(['runId', 'session', 'user', 'firstToken', 'userAgent'])

/** How a scan tells spans apart: by the values of words, of which there are few different ones (`wordsOf`), and by what there is of the rest. */
export const MARKS: Marks = Uint32Array.from(BY_KEY, (entry) =>
  entry < 0 ? 0 : (entry << 2) | markOf(entry >> 8),
)

function markOf(slot: number): number {
  const name = NAMES[slot]!
  if (slot < NUMBERS) return MARK.number
  return name === 'batch' || (name in TEXT_FIELDS && !APART.has(name)) ? MARK.word : MARK.other
}
