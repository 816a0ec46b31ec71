import { asObject, child, countOf, own } from '../../genai/json.ts'
import { canonical } from '../../runs/canonical.ts'
import { toolsOf, turnsOf, type Turn } from './turns.ts'
import type { Asked, Dialect, Told } from './dialect.ts'

/** Chat completions, as OpenAI and the many servers that speak like it have them. */
export const openai: Dialect = {
  path: '/chat/completions',
  headers: (key) => (key === undefined ? {} : { authorization: `Bearer ${key}` }),
  bodyOf,
  toldOf,
}

const PARAMS = ['temperature', 'top_p', 'max_tokens', 'presence_penalty', 'frequency_penalty'] as const

function bodyOf({ request, model, params }: Asked): unknown {
  const tools = toolsOf(request).map(({ name, description, schema }) => ({
    type: 'function',
    function: { name, description, parameters: schema },
  }))
  return {
    model,
    messages: turnsOf(request).map(messageOf),
    ...(tools.length > 0 && { tools }),
    ...Object.fromEntries(PARAMS.flatMap((key) => (key in params ? [[key, params[key]]] : []))),
    ...('seed' in params && { seed: params['seed'] }),
    ...('stop_sequences' in params && { stop: params['stop_sequences'] }),
  }
}

function messageOf({ role, text, calls, answers }: Turn): unknown {
  if (role === 'tool') return { role, tool_call_id: answers, content: text }
  if (calls.length === 0) return { role, content: text }
  return {
    role,
    content: text === '' ? null : text,
    tool_calls: calls.map(({ id, name, args }) => ({
      id,
      type: 'function',
      function: { name, arguments: canonical(args) },
    })),
  }
}

function toldOf(body: unknown): Told | undefined {
  const answer = asObject(body)
  const choices = own(answer, 'choices')
  const message = child(asObject(Array.isArray(choices) ? choices[0] : undefined), 'message')
  if (message === undefined) return undefined
  const usage = child(answer, 'usage')
  return {
    value: message,
    tokensIn: countOf(usage, 'prompt_tokens') || 0,
    tokensOut: countOf(usage, 'completion_tokens') || 0,
  }
}
