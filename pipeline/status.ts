import { faultOf, type FaultCode, type Fault } from './fault.ts'

/**
 * The only mapping from Faults to what a sender sees. gRPC codes and HTTP statuses follow the OTLP specification
 * ("Failures" for gRPC and HTTP): a retry is UNAVAILABLE or RESOURCE_EXHAUSTED with RetryInfo, 503 or 429 with
 * Retry-After; everything else is final.
 */
export interface WireStatus {
  readonly grpc: number
  readonly http: number
  readonly message: string
  /** Set for retryable faults: RetryInfo.retry_delay, Retry-After. */
  readonly retryAfterMs?: number
}

export const GRPC = {
  OK: 0,
  CANCELLED: 1,
  INVALID_ARGUMENT: 3,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  UNAUTHENTICATED: 16,
} as const

const REJECT: Partial<Record<FaultCode, readonly [grpc: number, http: number]>> = {
  SANITIZER_FAILED: [GRPC.INTERNAL, 500],
  BATCH_TOO_LARGE: [GRPC.RESOURCE_EXHAUSTED, 413],
  SPAN_TOO_LARGE: [GRPC.RESOURCE_EXHAUSTED, 413],
  ENCODING_UNSUPPORTED: [GRPC.UNIMPLEMENTED, 415],
  EVENT_INVALID: [GRPC.INVALID_ARGUMENT, 422],
  EVENT_TOO_LARGE: [GRPC.RESOURCE_EXHAUSTED, 413],
  RUN_EXISTS: [GRPC.ALREADY_EXISTS, 409],
  RUN_CLOSED: [GRPC.FAILED_PRECONDITION, 409],
  SEQ_CONFLICT: [GRPC.ALREADY_EXISTS, 409],
  KEY_REUSED: [GRPC.INVALID_ARGUMENT, 422],
  UNAUTHENTICATED: [GRPC.UNAUTHENTICATED, 401],
  PERMISSION_DENIED: [GRPC.PERMISSION_DENIED, 403],
  NOT_FOUND: [GRPC.NOT_FOUND, 404],
  CONFLICT: [GRPC.ALREADY_EXISTS, 409],
}

const RETRY: Partial<Record<FaultCode, readonly [grpc: number, http: number]>> = {
  RATE_LIMITED: [GRPC.RESOURCE_EXHAUSTED, 429],
  WAL_FULL: [GRPC.RESOURCE_EXHAUSTED, 429],
}

const DEFAULT_RETRY_MS = 1000

export function wireStatus(error: unknown): WireStatus {
  const fault = faultOf(error)
  // A bug must not make senders retry the same bytes for ever, and its text is not theirs to read.
  if (fault === undefined) return { grpc: GRPC.INTERNAL, http: 500, message: 'internal error' }
  if (fault.verdict.do === 'retry') return retryStatus(fault, fault.verdict.afterMs ?? DEFAULT_RETRY_MS)
  const [grpc, http] = REJECT[fault.code] ?? [GRPC.INVALID_ARGUMENT, 400]
  return { grpc, http, message: fault.message }
}

function retryStatus(fault: Fault, retryAfterMs: number): WireStatus {
  const [grpc, http] = RETRY[fault.code] ?? [GRPC.UNAVAILABLE, 503]
  return { grpc, http, message: fault.message, retryAfterMs }
}
