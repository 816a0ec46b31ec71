import { ATTR, NONE, type AttrRef, type Batch } from '../../../pipeline/batch/batch.ts'
import { keyId, type KeyId } from '../../../pipeline/batch/keys.ts'
import { parsed } from '../texts.ts'
import type { RunSpan } from '../validator.ts'

/** Where senders write what was called, by whom and with what; the first of a list wins. */
const ACTIONS = ['toon.action', 'gen_ai.tool.name', 'tool.name', 'ai.toolCall.name'].map(keyId)
const PARAMETERS = [
  'gen_ai.tool.call.arguments',
  'ai.toolCall.args',
  'tool.parameters',
  'tool_arguments',
  'gcp.vertex.agent.tool_call_args',
  'input.value',
  'traceloop.entity.input',
  'langfuse.observation.input',
].map(keyId)
const AGENTS = ['gen_ai.agent.name', 'agent.name', 'gen_ai.agent.id'].map(keyId)
const TOON_PAYLOAD = keyId('toon.payload')
const TOON_TYPE = keyId('toon.type')

/** One call of a tool: an event that asks for it, or the span of others. */
export interface Call {
  readonly action: string
  /** By every name that the span or its resource has; none for a span that leaves it to its parents. */
  readonly agents: readonly string[]
  /** As sent; undefined: none. */
  readonly parameters: unknown
}

/** Undefined for a span that is no call, which costs a few look-ups. */
export function callOf(batch: Batch, row: number): Call | undefined {
  const action = first(batch, row, ACTIONS)
  if (action === NONE) return undefined
  const type = batch.attr(row, TOON_TYPE)
  // The response was judged as a request.
  if (type !== NONE && batch.word(type) !== 'action_request') return undefined
  return {
    action: batch.word(action),
    agents: agentsOf(batch, row),
    parameters: parametersOf(batch, row, type),
  }
}

function agentsOf(batch: Batch, row: number): string[] {
  const names = AGENTS.flatMap((key) => {
    const own = batch.attr(row, key)
    const ref = own === NONE ? batch.resourceAttr(row, key) : own
    return ref === NONE ? [] : [batch.word(ref)]
  })
  return names
}

function parametersOf(batch: Batch, row: number, toonType: AttrRef): unknown {
  if (toonType !== NONE) {
    const payload = batch.attr(row, TOON_PAYLOAD)
    const event = payload === NONE ? undefined : parsed(batch.text(payload))
    return (event as { params?: unknown } | null | undefined)?.params
  }
  const ref = first(batch, row, PARAMETERS)
  if (ref === NONE) return undefined
  const text = batch.text(ref)
  const isText = batch.type(ref) === ATTR.string
  const value = /^\s*[[{"]/.test(text) || !isText ? parsed(text) : undefined
  return value === undefined ? text : value
}

function first(batch: Batch, row: number, keys: readonly KeyId[]): AttrRef {
  for (const key of keys) {
    const ref = batch.attr(row, key)
    if (ref !== NONE) return ref
  }
  return NONE
}

/** The agent's names on the nearest of the spans above that has some. */
export function agentsAbove(span: RunSpan, byId: ReadonlyMap<string, RunSpan>): readonly string[] {
  const seen = new Set<string>()
  for (
    let at = byId.get(span.parentId);
    at !== undefined && !seen.has(at.spanId);
    at = byId.get(at.parentId)
  ) {
    seen.add(at.spanId)
    const names = agentsOf(at.batch, at.row)
    if (names.length > 0) return names
  }
  return []
}

const MOST_TEXTS = 1000
const LONGEST_TEXT = 64 * 1024
const DEEPEST = 32

/** Parameters that are commands by purpose. */
const COMMANDS = /^(?:command|cmd|script|code|source|program|args|bash|shell|patch|diff|content)$/i

export interface ParameterText {
  readonly text: string
  /** Its name says that it is a command or a program. */
  readonly isCommand: boolean
}

/** The texts in parameters, to a depth and number that bound the work. */
export function textsIn(parameters: unknown): readonly ParameterText[] {
  const texts: ParameterText[] = []
  const walk = (value: unknown, isCommand: boolean, depth: number): void => {
    if (texts.length >= MOST_TEXTS || depth > DEEPEST) return
    if (typeof value === 'string') texts.push({ text: value.slice(0, LONGEST_TEXT), isCommand })
    if (typeof value !== 'object' || value === null) return
    for (const [key, inner] of Object.entries(value)) walk(inner, isCommand || COMMANDS.test(key), depth + 1)
  }
  walk(parameters, false, 0)
  return texts
}
