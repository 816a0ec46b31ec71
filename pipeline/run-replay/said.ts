import { asObject, own, type JsonObject } from '../genai/json.ts'
import { canonical, valueOf } from '../runs/canonical.ts'

/** What a message says, whatever convention it is written in. */
export interface Said {
  readonly text: string
  readonly toolCalls: readonly ToolCall[]
  /** Answers of tools that it brings. */
  readonly results: readonly ToolResult[]
}

export interface ToolCall {
  readonly id: string
  readonly name: string
  readonly args: unknown
}

export interface ToolResult {
  readonly id: string
  readonly text: string
}

const NOTHING: Said = { text: '', toolCalls: [], results: [] }
/** Where messages of the conventions, AI SDKs and toon payloads keep what is said. */
const TEXTS = ['content', 'text', 'thought', 'output', 'answer', 'completion', 'summary', 'body'] as const
const NOT_SAID: ReadonlySet<string> = new Set(['thinking', 'reasoning', 'redacted_thinking'])

/** One message, or a list of messages or parts as one. */
export function saidOf(value: unknown): Said {
  if (typeof value === 'string') return { ...NOTHING, text: value }
  if (Array.isArray(value)) return together(value.map(saidOf))
  const object = asObject(value)
  return object === undefined ? { ...NOTHING, text: plain(value) } : ofObject(object)
}

function ofObject(object: JsonObject): Said {
  const type = own(object, 'type')
  if (typeof type === 'string' && NOT_SAID.has(type)) return NOTHING
  const call = toolCallOf(object)
  if (call !== undefined) return { ...NOTHING, toolCalls: [call] }
  const result = resultOf(object)
  if (result !== undefined) return { ...NOTHING, results: [result] }
  const inner = own(object, 'message') ?? own(object, 'parts')
  if (inner !== undefined) return saidOf(inner)
  const key = TEXTS.find((each) => own(object, each) !== undefined && own(object, each) !== null)
  const calls = [...listed(object, 'tool_calls'), ...listed(object, 'toolCalls'), ...flatCalls(object)]
  const said = key === undefined ? NOTHING : saidOf(own(object, key))
  const all = together([said, ...calls.map(saidOf)])
  if (key === undefined && calls.length === 0 && own(object, 'role') === undefined)
    return { ...NOTHING, text: canonical(object) }
  return all
}

function listed(object: JsonObject, key: string): readonly unknown[] {
  const value = own(object, key)
  const list = typeof value === 'string' ? valueOf(value) : value
  return Array.isArray(list) ? (list as readonly unknown[]) : []
}

const CALL_TYPES: ReadonlySet<unknown> = new Set([
  'tool_call',
  'tool_use',
  'function',
  'function_call',
  'tool-call',
])

function toolCallOf(object: JsonObject): ToolCall | undefined {
  const inner = asObject(own(object, 'function')) ?? asObject(own(object, 'tool_call')) ?? object
  const isCall =
    inner !== object || CALL_TYPES.has(own(object, 'type')) || own(object, 'toolName') !== undefined
  const name = own(inner, 'name') ?? own(inner, 'toolName')
  if (!isCall || typeof name !== 'string' || own(inner, 'parameters') !== undefined) return undefined
  const args = own(inner, 'arguments') ?? own(inner, 'args') ?? own(inner, 'input') ?? {}
  return { id: idOf(object), name, args: typeof args === 'string' ? valueOf(args || '{}') : args }
}

const RESULT_TYPES: ReadonlySet<unknown> = new Set([
  'tool_call_response',
  'tool_result',
  'function_call_output',
  'tool-result',
])

function resultOf(object: JsonObject): ToolResult | undefined {
  if (!RESULT_TYPES.has(own(object, 'type')) && own(object, 'role') !== 'tool') return undefined
  const value =
    own(object, 'result') ??
    own(object, 'response') ??
    own(object, 'output') ??
    own(object, 'content') ??
    own(object, 'parts')
  const inner = Array.isArray(value) && isSpoken(value) ? saidOf(value) : undefined
  const [first] = inner?.results ?? []
  if (first !== undefined) return first
  return { id: idOf(object), text: inner?.text ?? plain(value ?? '') }
}

/** Parts of a message, and not a list that a tool gave. */
function isSpoken(list: readonly unknown[]): boolean {
  return list.every((item) => {
    const part = asObject(item)
    return typeof own(part, 'type') === 'string' && (RESULT_TYPES.has(own(part, 'type')) || hasText(part))
  })
}

function hasText(part: JsonObject | undefined): boolean {
  return typeof own(part, 'text') === 'string' || typeof own(part, 'content') === 'string'
}

function idOf(object: JsonObject): string {
  const keys = ['tool_call_id', 'tool_use_id', 'call_id', 'toolCallId', 'id']
  const id = keys.map((key) => own(object, key)).find((value) => typeof value === 'string')
  return typeof id === 'string' ? id : ''
}

/** `tool_calls.0.function.name`, as OpenLLMetry and OpenInference write them. */
function flatCalls(object: JsonObject): readonly unknown[] {
  const calls = new Map<string, Record<string, unknown>>()
  for (const [key, value] of Object.entries(object)) {
    const [, at, field] =
      /^(?:message\.)?tool_calls\.(\d+)\.(?:tool_call\.)?(?:function\.)?(name|arguments|id)$/.exec(key) ?? []
    if (at === undefined || field === undefined) continue
    calls.set(at, { type: 'tool_call', ...calls.get(at), [field]: value })
  }
  return [...calls.values()]
}

function together(parts: readonly Said[]): Said {
  return {
    text: parts
      .map(({ text }) => text)
      .filter((text) => text !== '')
      .join('\n'),
    toolCalls: parts.flatMap(({ toolCalls }) => toolCalls),
    results: parts.flatMap(({ results }) => results),
  }
}

function plain(value: unknown): string {
  return typeof value === 'string' ? value : canonical(value)
}
