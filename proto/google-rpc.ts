import { Cursor, Sink, WIRE } from './wire.ts'

/**
 * google.rpc.Status and the details that OTLP uses (vendor/google/rpc/{status,error_details}.proto): the body of every
 * OTLP/HTTP error and the `grpc-status-details-bin` trailer.
 */
export interface RpcStatus {
  /** google.rpc.Code; 0 is left out on the wire. */
  readonly code: number
  readonly message: string
  readonly details?: readonly RpcDetail[]
}

export type RpcDetail = RetryInfo | BadRequest

/** Retry no sooner than in `retryMs`. */
export interface RetryInfo {
  readonly retryMs: number
}

export interface BadRequest {
  readonly violations: readonly FieldViolation[]
}

export interface FieldViolation {
  readonly field: string
  readonly description: string
}

const RETRY_INFO = 'type.googleapis.com/google.rpc.RetryInfo'
const BAD_REQUEST = 'type.googleapis.com/google.rpc.BadRequest'

/** Status: int32 code = 1 · string message = 2 · repeated google.protobuf.Any details = 3 */
export function encodeStatus(status: RpcStatus): Buffer {
  const sink = new Sink(256)
  if (status.code !== 0) {
    sink.tag(1, WIRE.varint)
    sink.varint64(BigInt(status.code))
  }
  text(sink, 2, status.message)
  for (const detail of status.details ?? []) {
    sink.tag(3, WIRE.len)
    sink.bytes('retryMs' in detail ? encodeRetryInfo(detail.retryMs) : encodeBadRequest(detail.violations))
  }
  return sink.take()
}

/** An Any holding RetryInfo { Duration retry_delay = 1 }; Duration: int64 seconds = 1 · int32 nanos = 2 */
export function encodeRetryInfo(retryMs: number): Buffer {
  const inner = new Sink(32)
  const mark = inner.open(1)
  const seconds = Math.floor(retryMs / 1000)
  const nanos = Math.round((retryMs - seconds * 1000) * 1e6)
  number(inner, 1, seconds)
  number(inner, 2, nanos)
  inner.close(mark)
  return encodeAny(RETRY_INFO, inner.take())
}

/** An Any holding BadRequest { repeated FieldViolation field_violations = 1 }: string field = 1 · string description = 2 */
export function encodeBadRequest(violations: readonly FieldViolation[]): Buffer {
  const inner = new Sink(256)
  for (const violation of violations) {
    const mark = inner.open(1)
    text(inner, 1, violation.field)
    text(inner, 2, violation.description)
    inner.close(mark)
  }
  return encodeAny(BAD_REQUEST, inner.take())
}

/** Any: string type_url = 1 · bytes value = 2 */
function encodeAny(url: string, value: Uint8Array): Buffer {
  const sink = new Sink(64 + value.length)
  text(sink, 1, url)
  sink.tag(2, WIRE.len)
  sink.bytes(value)
  return sink.take()
}

/** Details of other types are left out. Throws WireError for bytes that are no Status. */
export function decodeStatus(bytes: Uint8Array): RpcStatus {
  let code = 0
  let message = ''
  const details: RpcDetail[] = []
  const cursor = new Cursor(bytes)
  while (cursor.next()) {
    if (cursor.field === 1 && cursor.wire === WIRE.varint) code = cursor.int32()
    else if (cursor.field === 2 && cursor.wire === WIRE.len) message = cursor.string()
    else if (cursor.field === 3 && cursor.wire === WIRE.len) {
      const detail = decodeAny(cursor.message())
      if (detail !== undefined) details.push(detail)
    } else cursor.skip()
  }
  return details.length === 0 ? { code, message } : { code, message, details }
}

function decodeAny(cursor: Cursor): RpcDetail | undefined {
  let url = ''
  let value: Uint8Array = new Uint8Array(0)
  while (cursor.next()) {
    if (cursor.field === 1 && cursor.wire === WIRE.len) url = cursor.string()
    else if (cursor.field === 2 && cursor.wire === WIRE.len) value = cursor.view()
    else cursor.skip()
  }
  if (url === RETRY_INFO) return { retryMs: decodeRetryInfo(new Cursor(value)) }
  return url === BAD_REQUEST ? { violations: decodeBadRequest(new Cursor(value)) } : undefined
}

function decodeRetryInfo(cursor: Cursor): number {
  let ms = 0
  while (cursor.next()) {
    if (cursor.field !== 1 || cursor.wire !== WIRE.len) {
      cursor.skip()
      continue
    }
    const duration = cursor.message()
    while (duration.next()) {
      if (duration.field === 1 && duration.wire === WIRE.varint) ms += Number(duration.int64()) * 1000
      else if (duration.field === 2 && duration.wire === WIRE.varint) ms += duration.int32() / 1e6
      else duration.skip()
    }
  }
  return ms
}

function decodeBadRequest(cursor: Cursor): FieldViolation[] {
  const violations: FieldViolation[] = []
  while (cursor.next()) {
    if (cursor.field !== 1 || cursor.wire !== WIRE.len) {
      cursor.skip()
      continue
    }
    let field = ''
    let description = ''
    const inner = cursor.message()
    while (inner.next()) {
      if (inner.field === 1 && inner.wire === WIRE.len) field = inner.string()
      else if (inner.field === 2 && inner.wire === WIRE.len) description = inner.string()
      else inner.skip()
    }
    violations.push({ field, description })
  }
  return violations
}

/** The proto3 JSON form: `{"code":…,"message":…,"details":[{"@type":…,…}]}`. */
export function statusToJson(status: RpcStatus): string {
  const details = (status.details ?? []).map((detail) =>
    'retryMs' in detail
      ? { '@type': RETRY_INFO, retryDelay: `${seconds(detail.retryMs)}s` }
      : { '@type': BAD_REQUEST, fieldViolations: detail.violations },
  )
  return JSON.stringify({
    ...(status.code === 0 ? {} : { code: status.code }),
    ...(status.message === '' ? {} : { message: status.message }),
    ...(details.length === 0 ? {} : { details }),
  })
}

/** Undefined when the text is not the JSON of a Status. */
export function statusFromJson(json: string): RpcStatus | undefined {
  let value: unknown
  try {
    value = JSON.parse(json)
  } catch {
    return undefined
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  const { code, message, details } = value as Record<string, unknown>
  const known = Array.isArray(details) ? details.map(detailFromJson).filter((one) => one !== undefined) : []
  return {
    code: typeof code === 'number' ? code : 0,
    message: typeof message === 'string' ? message : '',
    ...(known.length === 0 ? {} : { details: known }),
  }
}

function detailFromJson(value: unknown): RpcDetail | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const detail = value as Record<string, unknown>
  if (detail['@type'] === RETRY_INFO) {
    const match = /^(\d{1,12}(?:\.\d{1,9})?)s$/.exec(String(detail['retryDelay']))
    return { retryMs: match === null ? 0 : Number(match[1]) * 1000 }
  }
  if (detail['@type'] !== BAD_REQUEST || !Array.isArray(detail['fieldViolations'])) return undefined
  return {
    violations: detail['fieldViolations'].map((one: unknown) => {
      const { field, description } = Object(one) as Record<string, unknown>
      return { field: textOf(field), description: textOf(description) }
    }),
  }
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(3).replace(/\.?0+$/, '')
}

function text(sink: Sink, field: number, value: string): void {
  if (value === '') return
  sink.tag(field, WIRE.len)
  sink.string(value)
}

function number(sink: Sink, field: number, value: number): void {
  if (value === 0) return
  sink.tag(field, WIRE.varint)
  sink.varint64(BigInt(value))
}
