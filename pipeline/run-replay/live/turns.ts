import { asObject, own } from '../../genai/json.ts'
import { valueOf } from '../../runs/canonical.ts'
import type { LlmRequest } from '../../runs/steps.ts'
import { saidOf, type ToolCall } from '../said.ts'

/** A recorded conversation in a form that every provider's can be made from. */
export interface Turn {
  readonly role: 'system' | 'user' | 'assistant' | 'tool'
  readonly text: string
  /** Of `assistant`. */
  readonly calls: readonly ToolCall[]
  /** Of `tool`: the call that it answers. */
  readonly answers: string
}

export interface ToolDefinition {
  readonly name: string
  readonly description: string
  /** JSON Schema. */
  readonly schema: unknown
}

const ROLES: ReadonlyMap<unknown, Turn['role']> = new Map<unknown, Turn['role']>([
  ['system', 'system'],
  ['developer', 'system'],
  ['assistant', 'assistant'],
  ['model', 'assistant'],
  ['ai', 'assistant'],
  ['tool', 'tool'],
  ['function', 'tool'],
])

/** In order; ids of calls are there, and each answer of a tool has the id of its call. */
export function turnsOf({ system, messages }: LlmRequest): readonly Turn[] {
  const said = system === undefined ? '' : saidOf(system).text
  const first = said === '' ? [] : [{ role: 'system', text: said, calls: [], answers: '' } as const]
  return withIds([...first, ...messagesOf(messages).flatMap(turnsOfMessage)])
}

function messagesOf(messages: unknown): readonly unknown[] {
  const value = typeof messages === 'string' ? valueOf(messages) : messages
  if (Array.isArray(value)) return value
  const inner = own(asObject(value), 'messages')
  if (Array.isArray(inner)) return inner
  return value === undefined ? [] : [value]
}

function turnsOfMessage(message: unknown): readonly Turn[] {
  const { text, toolCalls, results } = saidOf(message)
  const role = ROLES.get(own(asObject(message), 'role')) ?? 'user'
  const answers = results.map(({ id, text }) => ({ role: 'tool', text, calls: [], answers: id }) as const)
  const rest = text !== '' || toolCalls.length > 0 || answers.length === 0
  if (role === 'tool' && answers.length === 0) return [{ role, text, calls: [], answers: '' }]
  return [...answers, ...(rest ? [{ role, text, calls: toolCalls, answers: '' }] : [])]
}

/** Records may lack ids, and providers insist on them: answers then belong to the calls before them, in order. */
function withIds(turns: readonly Turn[]): readonly Turn[] {
  let made = 0
  let open: string[] = []
  return turns.map((turn) => {
    if (turn.role === 'tool') {
      const id = turn.answers !== '' && open.includes(turn.answers) ? turn.answers : (open[0] ?? '')
      open = open.filter((each) => each !== id)
      return { ...turn, answers: id }
    }
    const calls = turn.calls.map((call) => ({ ...call, id: call.id === '' ? `call_${++made}` : call.id }))
    if (calls.length > 0) open = calls.map(({ id }) => id)
    return { ...turn, calls }
  })
}

/** What stands for tools in the request, whatever provider it was written for. */
export function toolsOf({ tools }: LlmRequest): readonly ToolDefinition[] {
  const list = typeof tools === 'string' ? valueOf(tools) : tools
  if (!Array.isArray(list)) return []
  return list.flatMap((item: unknown) => {
    const object = asObject(typeof item === 'string' ? valueOf(item) : item)
    const inner = asObject(own(object, 'function')) ?? object
    const name = own(inner, 'name')
    if (typeof name !== 'string') return []
    const description = own(inner, 'description')
    const schema = own(inner, 'parameters') ?? own(inner, 'input_schema') ?? own(inner, 'inputSchema')
    return [
      {
        name,
        description: typeof description === 'string' ? description : '',
        schema: asObject(schema) ?? { type: 'object', properties: {} },
      },
    ]
  })
}
