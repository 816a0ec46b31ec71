import { ATTR, type AttrRange, type AttrRef } from '../../pipeline/batch/batch.ts'
import { FOREIGN } from '../../pipeline/batch/keys.ts'
import type { TableReader } from '../../pipeline/batch/table-reader.ts'
import { ARRAY_VALUE, KEY_VALUE_LIST } from '../../proto/otlp/schema.ts'
import { ATTR_AT } from '../../proto/otlp/table.ts'
import { toJson } from '../../proto/otlp/to-json.ts'
import { int64At } from '../../proto/wire.ts'

/**
 * Attributes as a JSON object that query engines read as it is and nothing is lost in:
 *
 *     string, bool, list, map   as JSON has them
 *     int                       all digits, no point: 9223372036854775807
 *     double                    with a point or an exponent: 3.0, 1e-7, -0.0
 *     empty                     null
 *     bytes, NaN, infinities    as OTLP/JSON: {"bytesValue": "AAE="}, {"doubleValue": "NaN"}
 *
 * A map whose only key is one of those words is itself written as {"kvlistValue": {…}}. Equal keys stay side by side.
 */
export function attributesJson(reader: TableReader, { first, end }: AttrRange): string {
  let text = '{'
  for (let at = first; at < end; at++) {
    const ref = at as AttrRef
    text += (at === first ? '' : ',') + keyJson(reader, ref) + valueJson(reader, ref)
  }
  return `${text}}`
}

/** `"key":` by key id; at most KEY_LIMIT of them. */
const KEYS_JSON: string[] = []

function keyJson(reader: TableReader, ref: AttrRef): string {
  const id = reader.keyId(ref)
  if (id === FOREIGN) return `${JSON.stringify(reader.key(ref))}:`
  return (KEYS_JSON[id] ??= `${JSON.stringify(reader.key(ref))}:`)
}

function valueJson(reader: TableReader, ref: AttrRef): string {
  const off = reader.table.attrs[ref * ATTR_AT.width + ATTR_AT.off] as number
  switch (reader.type(ref)) {
    case ATTR.string:
      return JSON.stringify(reader.string(ref))
    case ATTR.bool:
      return reader.text(ref)
    case ATTR.int:
      return int64At(reader.bytes, off).toString()
    case ATTR.double:
      return doubleJson(reader.number(ref))
    case ATTR.bytes:
      return `{"bytesValue":${JSON.stringify(reader.text(ref))}}`
    case ATTR.array: {
      const list = toJson(ARRAY_VALUE, reader.bytes, off, off + reader.size(ref))
      return listJson(list as OtlpList)
    }
    case ATTR.kvlist: {
      const map = toJson(KEY_VALUE_LIST, reader.bytes, off, off + reader.size(ref))
      return mapJson(map as OtlpMap)
    }
    case ATTR.empty:
      break
  }
  return 'null'
}

interface OtlpValue {
  readonly stringValue?: string
  readonly boolValue?: boolean
  readonly intValue?: string
  readonly doubleValue?: number | string
  readonly bytesValue?: string
  readonly arrayValue?: OtlpList
  readonly kvlistValue?: OtlpMap
}
interface OtlpList {
  readonly values?: readonly OtlpValue[]
}
interface OtlpMap {
  readonly values?: readonly { readonly key?: string; readonly value?: OtlpValue }[]
}

function listJson({ values = [] }: OtlpList): string {
  return `[${values.map(otlpJson).join(',')}]`
}

const WORDS = new Set(['bytesValue', 'doubleValue', 'kvlistValue'])

function mapJson({ values = [] }: OtlpMap): string {
  const pairs = values.map(({ key = '', value = {} }) => `${JSON.stringify(key)}:${otlpJson(value)}`)
  const map = `{${pairs.join(',')}}`
  return values.length === 1 && WORDS.has(values[0]?.key ?? '') ? `{"kvlistValue":${map}}` : map
}

function otlpJson(value: OtlpValue): string {
  if (value.stringValue !== undefined) return JSON.stringify(value.stringValue)
  if (value.boolValue !== undefined) return String(value.boolValue)
  if (value.intValue !== undefined) return value.intValue
  if (value.doubleValue !== undefined) return doubleJson(Number(value.doubleValue))
  if (value.bytesValue !== undefined) return `{"bytesValue":${JSON.stringify(value.bytesValue)}}`
  if (value.arrayValue !== undefined) return listJson(value.arrayValue)
  if (value.kvlistValue !== undefined) return mapJson(value.kvlistValue)
  return 'null'
}

function doubleJson(value: number): string {
  if (!Number.isFinite(value)) return `{"doubleValue":"${value}"}`
  const text = Object.is(value, -0) ? '-0' : String(value)
  return /[.e]/.test(text) ? text : `${text}.0`
}
