import { encodeStatus, statusToJson } from '../../proto/google-rpc.ts'
import { encodeExportTraceResponse, exportTraceResponseToJson } from '../../proto/otlp/response.ts'
import { rejectedCount, type Outcome } from '../../pipeline/consumer.ts'
import type { WireStatus } from '../../pipeline/status.ts'

export type Format = 'protobuf' | 'json'

export const MEDIA_TYPE = { protobuf: 'application/x-protobuf', json: 'application/json' } as const

/** The specification caps responses at 4 MiB; a person reads this message. */
const MAX_MESSAGE_CHARS = 4096
const FULL_SUCCESS = { protobuf: Buffer.alloc(0), json: Buffer.from('{}') } as const

/** ExportTraceServiceResponse; `partial_success` is unset on full success. */
export function exportResponse(outcome: Outcome, format: Format): Buffer {
  const rejectedSpans = rejectedCount(outcome)
  if (rejectedSpans === 0) return FULL_SUCCESS[format]
  const partial = { rejectedSpans, errorMessage: reasons(outcome) }
  return format === 'protobuf'
    ? encodeExportTraceResponse(partial)
    : Buffer.from(exportTraceResponseToJson(partial))
}

/** google.rpc.Status, for the body of every 4xx and 5xx. */
export function statusBody(status: WireStatus, format: Format): Buffer {
  const { grpc: code, message } = status
  return format === 'protobuf'
    ? encodeStatus({ code, message })
    : Buffer.from(statusToJson({ code, message }))
}

/** google.rpc.Status with RetryInfo, for `grpc-status-details-bin`. */
export function richStatus(status: Pick<WireStatus, 'grpc' | 'message'>, retryMs: number): Buffer {
  return encodeStatus({ code: status.grpc, message: status.message, details: [{ retryMs }] })
}

function reasons(outcome: Outcome): string {
  const counts = new Map<string, number>()
  for (const { reason, rows } of outcome.rejected) counts.set(reason, (counts.get(reason) ?? 0) + rows.length)
  const text = [...counts].map(([reason, count]) => `${reason} (${count} spans)`).join('; ')
  return text.length <= MAX_MESSAGE_CHARS ? text : `${text.slice(0, MAX_MESSAGE_CHARS - 1)}…`
}
