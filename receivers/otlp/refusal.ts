import { GRPC, wireStatus, type WireStatus } from '../../pipeline/status.ts'

/** A refusal that belongs to HTTP and never leaves this receiver: wrong route, method, media type, slow body. */
export class Refusal extends Error {
  override readonly name = 'Refusal'
  readonly http: number
  readonly headers: Readonly<Record<string, string>>

  constructor(http: number, message: string, headers: Readonly<Record<string, string>> = {}) {
    super(message)
    this.http = http
    this.headers = headers
  }
}

const GRPC_CODE: Readonly<Record<number, number>> = { 404: GRPC.NOT_FOUND, 405: GRPC.UNIMPLEMENTED }

/** What to tell the sender of anything that was thrown. */
export function refusalStatus(error: unknown): WireStatus {
  if (!(error instanceof Refusal)) return wireStatus(error)
  return { http: error.http, grpc: GRPC_CODE[error.http] ?? GRPC.INVALID_ARGUMENT, message: error.message }
}
