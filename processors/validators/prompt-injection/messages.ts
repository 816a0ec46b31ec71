/** Who a text of a conversation is from. `none`: what nobody outside wrote (system prompts, definitions, a model's own arguments). */
export type Source = 'user' | 'tool' | 'document' | 'model' | 'none'

/** Deeper than any message; what is below is left out. */
const DEEPEST = 32

/**
 * Texts of a value that may be JSON of messages, in any of the shapes that SDKs write: roles, typed parts, LangChain's
 * and Gemini's forms, JSON inside strings. `source`: of what says nothing about itself.
 */
export function textsOf(value: string, source: Source, each: (text: string, source: Source) => void): void {
  if (source !== 'none') text(value, source, each, 0)
}

type Each = (text: string, source: Source) => void

function text(value: string, source: Source, each: Each, depth: number): void {
  const parsed = /^\s*["[{]/.test(value) ? json(value) : undefined
  if (parsed === undefined) each(value, source)
  else walk(parsed, source, each, depth + 1)
}

function json(value: string): unknown {
  try {
    return JSON.parse(value)
  } catch {
    return undefined
  }
}

function walk(value: unknown, source: Source, each: Each, depth: number): void {
  if (depth > DEEPEST) return
  if (typeof value === 'string') return text(value, source, each, depth)
  if (typeof value !== 'object' || value === null) return
  if (Array.isArray(value)) return value.forEach((item) => walk(item, source, each, depth + 1))
  const own = sourceOf(value as Readonly<Record<string, unknown>>) ?? source
  if (own === 'none') return
  for (const [key, item] of Object.entries(value)) {
    const inner = KEYS.get(key) ?? own
    if (inner !== 'none') walk(item, inner, each, depth + 1)
  }
}

/** By role, or by the type of a part. */
function sourceOf(node: Readonly<Record<string, unknown>>): Source | undefined {
  for (const key of ['type', 'role', 'actor', 'message_type']) {
    const name = Object.hasOwn(node, key) ? node[key] : undefined
    const source = typeof name === 'string' ? ROLES.get(name.toLowerCase()) : undefined
    if (source !== undefined) return source
  }
  return undefined
}

/** A message's role as a source; undefined for a role that is not known. */
export function roleSource(role: string): Source | undefined {
  return ROLES.get(role.toLowerCase())
}

const ROLES: ReadonlyMap<string, Source> = new Map<string, Source>([
  ['user', 'user'],
  ['human', 'user'],
  ['redteam', 'user'],
  ['assistant', 'model'],
  ['ai', 'model'],
  ['model', 'model'],
  ['agent', 'model'],
  ['system', 'none'],
  ['developer', 'none'],
  ['tool', 'tool'],
  ['function', 'tool'],
  ['tool_result', 'tool'],
  ['tool-result', 'tool'],
  ['tool_call_response', 'tool'],
  ['server_tool_call_response', 'tool'],
  ['function_call_output', 'tool'],
  ['mcp_tool_result', 'tool'],
  ['tool_call', 'none'],
  ['tool-call', 'none'],
  ['tool_use', 'none'],
  ['server_tool_use', 'none'],
  ['server_tool_call', 'none'],
  ['function_call', 'none'],
  ['reasoning', 'none'],
  ['thinking', 'none'],
  ['document', 'document'],
  ['blob', 'none'],
])

/** Members that say more of what is in them than the object around does. */
const KEYS: ReadonlyMap<string, Source> = new Map<string, Source>([
  ['system', 'none'],
  ['system_prompt', 'none'],
  ['system_instruction', 'none'],
  ['systemInstruction', 'none'],
  ['system_instructions', 'none'],
  ['instructions', 'none'],
  ['tools', 'none'],
  ['functions', 'none'],
  ['tool_calls', 'none'],
  ['toolCalls', 'none'],
  ['functionCall', 'none'],
  ['function_call', 'none'],
  ['invocation_params', 'none'],
  ['invocation_parameters', 'none'],
  ['functionResponse', 'tool'],
  ['function_response', 'tool'],
  ['page_content', 'document'],
  ['pageContent', 'document'],
  ['documents', 'document'],
])
