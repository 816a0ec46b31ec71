import { faultOf } from '../fault.ts'
import { wireStatus } from '../status.ts'
import { ENCODINGS } from './inflate.ts'

/** Why a receiver refuses a request by itself. A label of a metric: few, and none that a sender could make up. */
export type RefusalReason = (typeof REASONS)[keyof typeof REASONS] | 'encoding'

/** Of a request that a receiver has answered with a refusal: what was thrown, or why. Neither: the pipeline has it still. */
export interface Refused {
  readonly error?: unknown
  readonly reason?: RefusalReason
}

/** By HTTP status. */
const REASONS = {
  400: 'malformed',
  401: 'unauthenticated',
  403: 'forbidden',
  404: 'not_found',
  405: 'method',
  408: 'timeout',
  409: 'conflict',
  413: 'too_large',
  415: 'content_type',
  422: 'invalid',
  429: 'rate_limited',
  431: 'headers',
  500: 'internal',
  503: 'unavailable',
} as const

/** A refusal that belongs to HTTP and never reaches the pipeline: wrong route, method, media type, slow body. */
export class Refusal extends Error {
  override readonly name: string = 'Refusal'
  readonly http: number
  readonly headers: Readonly<Record<string, string>>

  constructor(http: number, message: string, headers: Readonly<Record<string, string>> = {}) {
    super(message)
    this.http = http
    this.headers = headers
  }

  get reason(): RefusalReason {
    return reasonFor(this.http)
  }
}

/** The refusal of a Content-Encoding, with the ones that are taken. */
export class EncodingRefusal extends Refusal {
  constructor(http: number) {
    super(http, `Content-Encoding must be one of ${ENCODINGS}`, { 'accept-encoding': ENCODINGS })
  }

  override get reason(): RefusalReason {
    return 'encoding'
  }
}

/** Of anything that was thrown. */
export function refusalReason(error: unknown): RefusalReason {
  if (error instanceof Refusal) return error.reason
  if (faultOf(error)?.code === 'ENCODING_UNSUPPORTED') return 'encoding'
  return reasonFor(wireStatus(error).http)
}

function reasonFor(status: number): RefusalReason {
  return REASONS[status as keyof typeof REASONS] ?? 'malformed'
}
