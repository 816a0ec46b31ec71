import { type Fault, faultOf, messageOf, reject, retry } from '../../pipeline/fault.ts'

/**
 * ClickHouse error codes (src/Common/ErrorCodes.cpp) that judge the data itself: the same block will never be taken, so
 * the reader may bisect it. Everything else may pass: memory, space, parts, timeouts, read-only tables, and also a
 * missing table, column or right, which an operator mends without losing a span.
 */
const DATA_ERRORS: ReadonlySet<string> = new Set([
  '6', // CANNOT_PARSE_TEXT
  '27', // CANNOT_PARSE_INPUT_ASSERTION_FAILED
  '33', // CANNOT_READ_ALL_DATA
  '53', // TYPE_MISMATCH
  '69', // ARGUMENT_OUT_OF_BOUND
  '117', // INCORRECT_DATA
  '128', // TOO_LARGE_ARRAY_SIZE
  '131', // TOO_LARGE_STRING_SIZE
  '190', // SIZES_OF_ARRAYS_DONT_MATCH
  '321', // VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE
  '407', // DECIMAL_OVERFLOW
])

/** The statement failed for the data in it: no other server would take them. */
export function judgesData(error: unknown): boolean {
  return DATA_ERRORS.has(codeOf(error))
}

/** What became of an insert that failed, for the WAL reader. */
export function insertFault(error: unknown): Fault {
  const fault = faultOf(error)
  if (fault !== undefined) return fault
  const code = codeOf(error)
  const text = `clickhouse: the insert failed${code === '' ? '' : ` (code ${code})`}: ${messageOf(error)}`
  if (judgesData(error)) return reject('EXPORT_REJECTED', text, { cause: error })
  return retry('EXPORT_UNAVAILABLE', text, undefined, { cause: error })
}

/** ClickHouse's error code, '' when the error is not ClickHouse's. */
export function codeOf(error: unknown): string {
  const code = (error as { code?: unknown } | undefined)?.code
  return typeof code === 'string' && /^\d+$/.test(code) ? code : ''
}
