import { decodeToonText } from '../../pipeline/agent/toon-text.ts'
import { messageOf, reject } from '../../pipeline/fault.ts'
import { Refusal } from '../../pipeline/net/refusal.ts'

export type Format = 'json' | 'ndjson' | 'toon'

const FORMATS: Readonly<Record<string, Format>> = {
  'application/json': 'json',
  'application/x-ndjson': 'ndjson',
  'application/ndjson': 'ndjson',
  'application/jsonl': 'ndjson',
  'application/x-jsonlines': 'ndjson',
  'text/toon': 'toon',
}
/** Each is a turn of a loop, and a few bytes of an archive hold millions. */
const MAX_BLANK_LINES = 1000
const TYPES = 'application/json, application/x-ndjson, text/toon'

/** Throws a Refusal, 415, for a media type that is not taken. A request without a body needs none. */
export function formatOf(contentType: string | undefined): Format | undefined {
  if (contentType === undefined) return undefined
  const [type = ''] = contentType.split(';', 1)
  const format = FORMATS[type.trim().toLowerCase()]
  if (format !== undefined) return format
  throw new Refusal(415, `Content-Type must be one of ${TYPES}`, { accept: TYPES })
}

export interface BodyLimits {
  readonly maxDepth: number
  readonly maxEvents: number
  readonly maxLine: number
}

/** The events of a body: one, a list, `{"events": […]}`, or a line each. Not checked yet. BATCH_MALFORMED for no such text. */
export async function eventsOf(
  bytes: Uint8Array,
  format: Format,
  limits: BodyLimits,
): Promise<readonly unknown[]> {
  const text = textOf(bytes)
  if (format === 'ndjson') return linesOf(text, limits.maxEvents)
  const value = format === 'json' ? parse(text) : await decodeToonText(text, limits)
  if (Array.isArray(value)) return value
  if (isBatch(value)) return value.events
  return [value]
}

/** The value of a body that is one object; undefined for an empty body. */
export async function valueOf(bytes: Uint8Array, format: Format, limits: BodyLimits): Promise<unknown> {
  if (bytes.length === 0) return undefined
  const text = textOf(bytes)
  return format === 'toon' ? decodeToonText(text, limits) : parse(text)
}

function textOf(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw reject('BATCH_MALFORMED', 'the body is not valid UTF-8')
  }
}

/** One line more than a request may have is enough to be refused by number. */
function linesOf(text: string, maxEvents: number): unknown[] {
  const values: unknown[] = []
  let blank = 0
  for (let at = 0, number = 1; at < text.length && values.length <= maxEvents; number++) {
    const found = text.indexOf('\n', at)
    const end = found < 0 ? text.length : found
    const line = text.slice(at, end)
    if (line.trim() !== '') values.push(parse(line, ` in line ${number}`))
    else if (++blank > MAX_BLANK_LINES)
      throw reject('BATCH_MALFORMED', `over ${MAX_BLANK_LINES} lines of the body are blank`)
    at = end + 1
  }
  return values
}

function parse(text: string, where = ''): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    // V8 quotes the text it stumbled over; that is the sender's, and may be a secret.
    const [position = ''] = /at position \d+/.exec(messageOf(error)) ?? []
    throw reject('BATCH_MALFORMED', `the body is not valid JSON${where} ${position}`.trimEnd())
  }
}

function isBatch(value: unknown): value is { readonly events: readonly unknown[] } {
  return (
    typeof value === 'object' &&
    value !== null &&
    Array.isArray((value as { events?: unknown }).events) &&
    !('type' in value)
  )
}
