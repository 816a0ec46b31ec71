import { asObject, child, countOf, own } from '../../genai/json.ts'
import { toolsOf, turnsOf, type Turn } from './turns.ts'
import type { Asked, Dialect, Told } from './dialect.ts'

/** Messages, as Anthropic has them. */
export const anthropic: Dialect = {
  path: '/v1/messages',
  headers: (key) => ({ 'anthropic-version': '2023-06-01', ...(key !== undefined && { 'x-api-key': key }) }),
  bodyOf,
  toldOf,
}

const PARAMS = ['temperature', 'top_p', 'top_k', 'stop_sequences'] as const
/** The API wants a bound, and not every request that was recorded elsewhere has one. */
const MAX_TOKENS = 4096

function bodyOf({ request, model, params }: Asked): unknown {
  const turns = turnsOf(request)
  const system = turns
    .filter(({ role }) => role === 'system')
    .map(({ text }) => text)
    .join('\n\n')
  const tools = toolsOf(request).map(({ name, description, schema }) => ({
    name,
    description,
    input_schema: schema,
  }))
  return {
    model,
    max_tokens: params['max_tokens'] ?? MAX_TOKENS,
    ...(system !== '' && { system }),
    messages: together(turns.filter(({ role }) => role !== 'system')),
    ...(tools.length > 0 && { tools }),
    ...Object.fromEntries(PARAMS.flatMap((key) => (key in params ? [[key, params[key]]] : []))),
  }
}

interface Message {
  readonly role: 'user' | 'assistant'
  readonly content: unknown[]
}

/** Roles take turns: what follows one of the same role belongs to it. */
function together(turns: readonly Turn[]): readonly Message[] {
  const messages: Message[] = []
  for (const turn of turns) {
    const role = turn.role === 'assistant' ? 'assistant' : 'user'
    const last = messages.at(-1)
    if (last?.role === role) last.content.push(...blocksOf(turn))
    else messages.push({ role, content: blocksOf(turn) })
  }
  return messages.filter(({ content }) => content.length > 0)
}

function blocksOf({ role, text, calls, answers }: Turn): unknown[] {
  if (role === 'tool') return [{ type: 'tool_result', tool_use_id: answers, content: text }]
  return [
    ...(text === '' ? [] : [{ type: 'text', text }]),
    ...calls.map(({ id, name, args }) => ({ type: 'tool_use', id, name, input: args })),
  ]
}

function toldOf(body: unknown): Told | undefined {
  const answer = asObject(body)
  const content = own(answer, 'content')
  if (!Array.isArray(content)) return undefined
  const usage = child(answer, 'usage')
  return {
    value: { role: 'assistant', content: content as unknown[] },
    tokensIn: countOf(usage, 'input_tokens') || 0,
    tokensOut: countOf(usage, 'output_tokens') || 0,
  }
}
