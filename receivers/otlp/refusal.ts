import { Refusal } from '../../pipeline/net/refusal.ts'
import { GRPC, wireStatus, type WireStatus } from '../../pipeline/status.ts'

const GRPC_CODE: Readonly<Record<number, number>> = { 404: GRPC.NOT_FOUND, 405: GRPC.UNIMPLEMENTED }

/** What to tell the sender of anything that was thrown. */
export function refusalStatus(error: unknown): WireStatus {
  if (!(error instanceof Refusal)) return wireStatus(error)
  return { http: error.http, grpc: GRPC_CODE[error.http] ?? GRPC.INVALID_ARGUMENT, message: error.message }
}
