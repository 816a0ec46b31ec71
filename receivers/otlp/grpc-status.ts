import { Metadata, type status } from '@grpc/grpc-js'
import type { WireStatus } from '../../pipeline/status.ts'
import { richStatus } from './reply.ts'

/** RetryInfo stands in the details exactly when a retry may help: without it RESOURCE_EXHAUSTED is final. */
export function grpcStatus(wire: WireStatus): { code: status; details: string; metadata: Metadata } {
  const metadata = new Metadata()
  if (wire.retryAfterMs !== undefined) {
    metadata.set('grpc-status-details-bin', richStatus(wire, wire.retryAfterMs))
  }
  // oxlint-disable-next-line typescript/no-unsafe-enum-assignment -- both are the numbers of the gRPC specification
  return { code: wire.grpc, details: wire.message, metadata }
}
