import { SLOT } from './fields.ts'
import type { Scan } from './scan.ts'

/** Kinds of OpenInference, Langfuse, LangSmith, Laminar and OpenLLMetry → OTel GenAI operations. '' = a plain step. */
const KINDS: ReadonlyMap<string, string> = new Map([
  ['llm', 'chat'],
  ['generation', 'chat'],
  ['embedding', 'embeddings'],
  ['chain', 'chain'],
  ['retriever', 'retrieval'],
  ['reranker', 'rerank'],
  ['tool', 'execute_tool'],
  ['agent', 'invoke_agent'],
  ['workflow', 'invoke_workflow'],
  ['task', 'execute_task'],
  ['guardrail', 'guardrail'],
  ['evaluator', 'evaluate'],
  ['evaluation', 'evaluate'],
  ['prompt', 'prompt'],
  ['parser', 'parse'],
  ['span', ''],
  ['event', ''],
  // Laminar: an answer from its replay cache; the model was not called.
  ['cached', 'cached_chat'],
])

/** Names in the wild → the convention's. */
const OPERATIONS: ReadonlyMap<string, string> = new Map([
  ['completion', 'text_completion'],
  ['generate', 'generate_content'],
  ['llm_request', 'chat'],
  ['embedding', 'embeddings'],
  ['reranking', 'rerank'],
])

/** Operations that are one call of a model: only these carry tokens and cost. */
const LEAVES: ReadonlySet<string> = new Set([
  'chat',
  'generate_content',
  'text_completion',
  'embeddings',
  'rerank',
])

/** Operations around calls. Tokens on them are sums over their children, which are counted where they occur. */
const AROUND: ReadonlySet<string> = new Set([
  'invoke_agent',
  'create_agent',
  'execute_tool',
  'invoke_workflow',
  'execute_task',
  'agent_step',
  'plan',
  'retrieval',
  'chain',
  'guardrail',
  'evaluate',
  'prompt',
  'parse',
  'cached_chat',
])

/** The span's operation; '' for a span that is not of an agent. The first source that decides wins. */
export function operationOf(scan: Scan): string {
  const named = operationName(scan)
  const operation = kindOf(scan, named)
  // OpenInference and others know only "LLM"; the convention's name says which.
  if (operation === 'chat' && named !== '' && LEAVES.has(named)) return named
  return operation
}

/**
 * Whether the span is one model call of its own. An operation of nobody's list counts as one when it names a model.
 * The AI SDK's outer spans never do, whatever kind another instrumentation gave them: their usage is the sum.
 */
export function isLeaf(scan: Scan, operation: string): boolean {
  if (scan.has(SLOT.aiOperation) && AROUND.has(aiOperation(scan.text(SLOT.aiOperation)) ?? '')) return false
  if (LEAVES.has(operation)) return true
  return operation !== '' && !AROUND.has(operation) && !operation.includes('memory') && hasModel(scan)
}

function kindOf(scan: Scan, named: string): string {
  return (
    langfuse(scan) ??
    mapped(scan, SLOT.openInferenceKind) ??
    (named === '' ? undefined : named) ??
    mapped(scan, SLOT.langsmithKind) ??
    mapped(scan, SLOT.laminarType) ??
    mapped(scan, SLOT.traceloopKind) ??
    requestType(scan) ??
    (scan.has(SLOT.aiOperation) ? aiOperation(scan.text(SLOT.aiOperation)) : undefined) ??
    genkit(scan) ??
    byEvidence(scan)
  )
}

/** Langfuse's Python SDK up to 3.3 calls generations spans: what has a model or usage of its own is one. */
function langfuse(scan: Scan): string | undefined {
  const operation = mapped(scan, SLOT.langfuseType)
  if (operation !== '') return operation
  const isCall =
    scan.has(SLOT.langfuseUsage) || scan.source('responseModel') === 'langfuse.observation.model.name'
  return isCall ? 'chat' : operation
}

function mapped(scan: Scan, slot: number): string | undefined {
  return scan.has(slot) ? KINDS.get(scan.text(slot).toLowerCase()) : undefined
}

function operationName(scan: Scan): string {
  if (!scan.has(SLOT.operationName)) return ''
  const name = scan.text(SLOT.operationName).toLowerCase()
  return OPERATIONS.get(name) ?? name
}

function requestType(scan: Scan): string | undefined {
  if (!scan.has(SLOT.requestType)) return undefined
  const type = scan.text(SLOT.requestType).toLowerCase()
  const operation = OPERATIONS.get(type) ?? type
  return LEAVES.has(operation) ? operation : undefined
}

/** AI SDK: `ai.generateText` is the run, `ai.generateText.doGenerate` the call; a function id may follow a space. */
function aiOperation(value: string): string | undefined {
  if (!value.startsWith('ai.')) return undefined
  const space = value.indexOf(' ')
  const id = space < 0 ? value : value.slice(0, space)
  if (id === 'ai.toolCall') return 'execute_tool'
  if (id.endsWith('.doGenerate') || id.endsWith('.doStream')) return 'chat'
  if (id.endsWith('.doEmbed')) return 'embeddings'
  if (id.endsWith('.doRerank')) return 'rerank'
  if (/^ai\.(generate|stream)(Text|Object)$/.test(id)) return 'invoke_agent'
  return 'chain'
}

function genkit(scan: Scan): string | undefined {
  if (!scan.has(SLOT.genkitSubtype)) return undefined
  const subtype = scan.text(SLOT.genkitSubtype)
  if (subtype === 'model') return 'chat'
  if (subtype === 'embedder') return 'embeddings'
  return subtype === 'tool' ? 'execute_tool' : undefined
}

/** No source names a kind: MCP and tool names, then what only a whole run has, then a model, then bare token counts. */
function byEvidence(scan: Scan): string {
  if (scan.has(SLOT.mcpMethod)) return scan.text(SLOT.mcpMethod) === 'tools/call' ? 'execute_tool' : ''
  if (scan.has(SLOT.agentRun)) return 'invoke_agent'
  if (scan.has(SLOT.tool) || scan.has(SLOT.toolCall)) return 'execute_tool'
  if (hasModel(scan)) return 'chat'
  if (!scan.has(SLOT.input) && !scan.has(SLOT.output)) return ''
  return scan.has(SLOT.agent) ? 'invoke_agent' : 'chat'
}

function hasModel(scan: Scan): boolean {
  return scan.has(SLOT.requestModel) || scan.has(SLOT.responseModel)
}
