/** An OTLP/JSON AnyValue. */
export type AnyValue = Readonly<Record<string, unknown>>
export interface KeyValue {
  readonly key?: string
  readonly value?: AnyValue
}

const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g
/** No JSON text of an attribute holds this key by chance. */
const NUMBER = '\u0000number'

/** The inverse of the exporter's attributes as JSON, by its description alone. */
export function attributesOf(json: string): KeyValue[] {
  // JSON.parse tells neither 3 from 3.0 nor all digits of an int.
  const marked = json.replace(TOKEN, (token) =>
    token.startsWith('"') ? token : `{${JSON.stringify(NUMBER)}:"${token}"}`,
  )
  const map = JSON.parse(marked) as Record<string, unknown>
  return Object.entries(map).map(([key, value]) => ({ key, value: anyValueOf(value) }))
}

function anyValueOf(json: unknown): AnyValue {
  if (json === null) return {}
  if (typeof json === 'string') return { stringValue: json }
  if (typeof json === 'boolean') return { boolValue: json }
  if (Array.isArray(json)) return { arrayValue: { values: json.map(anyValueOf) } }
  const entries = Object.entries(json as Record<string, unknown>)
  const [[key, value] = []] = entries
  if (entries.length === 1 && key === NUMBER) return numberOf(String(value))
  if (entries.length === 1 && key === 'bytesValue') return { bytesValue: value }
  if (entries.length === 1 && key === 'doubleValue') return { doubleValue: value }
  if (entries.length === 1 && key === 'kvlistValue') return mapOf(Object.entries(value as object))
  return mapOf(entries)
}

function mapOf(entries: readonly (readonly [string, unknown])[]): AnyValue {
  return { kvlistValue: { values: entries.map(([key, value]) => ({ key, value: anyValueOf(value) })) } }
}

function numberOf(token: string): AnyValue {
  if (!/[.eE]/.test(token)) return { intValue: token }
  return { doubleValue: token === '-0.0' ? '-0' : Number(token) }
}

/** Attributes in one form to compare: sorted by key, empty lists and absent values written out. */
export function settled(attributes: readonly KeyValue[] = []): unknown[] {
  return attributes
    .map(({ key = '', value = {} }) => ({ key, value: settledValue(value) }))
    .toSorted((a, b) => (a.key < b.key ? -1 : 1))
}

function settledValue(value: AnyValue): AnyValue {
  const list = value['arrayValue'] as { values?: AnyValue[] } | undefined
  if (list !== undefined) return { arrayValue: (list.values ?? []).map(settledValue) }
  const map = value['kvlistValue'] as { values?: KeyValue[] } | undefined
  return map === undefined ? value : { kvlistValue: settled(map.values ?? []) }
}
