import { asObject } from '../genai/json.ts'
import { valueOf } from './canonical.ts'
import { firstOf, type EventTexts, type SpanTexts } from './span-texts.ts'

/** What was said, in the two content conventions of OTel GenAI: attributes since 1.37, one event per message before. */
interface Conversation {
  readonly system?: unknown
  readonly input?: unknown
  readonly output?: unknown
}

const INPUT = 'gen_ai.input.messages'
const OUTPUT = 'gen_ai.output.messages'
const SYSTEM = 'gen_ai.system_instructions'
/** Since 1.37 the same attributes may stand on this event, so that the span stays small. */
export const DETAILS = 'gen_ai.client.inference.operation.details'

/** Before 1.37: event → role. */
const ROLES: ReadonlyMap<string, string> = new Map([
  ['gen_ai.system.message', 'system'],
  ['gen_ai.user.message', 'user'],
  ['gen_ai.assistant.message', 'assistant'],
  ['gen_ai.tool.message', 'tool'],
])
const CHOICE = 'gen_ai.choice'
/** Before 1.28: one event with all of them. */
const WHOLE = new Map([
  ['gen_ai.content.prompt', 'gen_ai.prompt'],
  ['gen_ai.content.completion', 'gen_ai.completion'],
])
const BODY = ['gen_ai.event.content', 'event_body', 'body'] as const
/** Of the event, not of the message. */
const NOT_MESSAGE: ReadonlySet<string> = new Set([
  ...BODY,
  'event.name',
  'gen_ai.system',
  'gen_ai.provider.name',
  'event.domain',
])

export function conversation(span: SpanTexts): Conversation {
  const details = span.events.find(({ name }) => name === DETAILS)
  const of = (key: string): unknown => {
    const text = firstOf(span, [key]) ?? (details === undefined ? undefined : firstOf(details, [key]))
    return text === undefined ? undefined : valueOf(text)
  }
  const system = of(SYSTEM)
  const input = of(INPUT) ?? eventMessages(span)
  const output = of(OUTPUT) ?? choices(span)
  return {
    ...(system !== undefined && { system }),
    ...(input !== undefined && { input }),
    ...(output !== undefined && { output }),
  }
}

function eventMessages(span: SpanTexts): unknown {
  const messages = span.events.flatMap((event) => {
    const role = ROLES.get(event.name)
    return role === undefined ? [] : [{ role, ...bodyOf(event) }]
  })
  return messages.length > 0 ? messages : wholeOf(span, 'gen_ai.content.prompt')
}

function choices(span: SpanTexts): unknown {
  const all = span.events.filter(({ name }) => name === CHOICE).map(bodyOf)
  return all.length > 0 ? all : wholeOf(span, 'gen_ai.content.completion')
}

function wholeOf(span: SpanTexts, name: string): unknown {
  const event = span.events.find((each) => each.name === name)
  const text = event?.attributes.get(WHOLE.get(name) ?? '')
  return text === undefined ? undefined : valueOf(text)
}

function bodyOf(event: EventTexts): Record<string, unknown> {
  const text = firstOf(event, BODY)
  const body = text === undefined ? undefined : valueOf(text)
  const whole = asObject(body) ?? (body === undefined ? {} : { content: body })
  const rest = [...event.attributes].filter(([key]) => !NOT_MESSAGE.has(key))
  return { ...whole, ...Object.fromEntries(rest.map(([key, value]) => [key, valueOf(value)])) }
}

/** Most entries of a numbered family: OpenLLMetry's `gen_ai.prompt.<n>.<rest>`, OpenInference's. */
const MOST = 10_000

/** One flat object per number, in order; `inner` is left out of the keys below it. Undefined when there is none. */
export function listOf(span: SpanTexts, prefix: string, inner: string): unknown {
  const items = new Map<number, Record<string, unknown>>()
  for (const [key, text] of span.attributes) {
    if (!key.startsWith(prefix)) continue
    const [, digits = '', rest = ''] = /^(\d{1,6})(?:\.(.+))?$/s.exec(key.slice(prefix.length)) ?? []
    if (digits === '' || (items.size >= MOST && !items.has(Number(digits)))) continue
    const item = items.get(Number(digits)) ?? Object.create(null)
    item[rest.startsWith(inner) ? rest.slice(inner.length) : rest || 'value'] = valueOf(text)
    items.set(Number(digits), item)
  }
  if (items.size === 0) return undefined
  return [...items].sort(([a], [b]) => a - b).map(([, item]) => ({ ...item }))
}
