import { Agent, request as httpRequest } from 'node:http'
import { GrpcConnection, type Answer } from './h2.ts'
import type { LoadPlan } from './plan.ts'

export interface Transport {
  /** `framed`: the 5-byte gRPC prefix and the request; untouched until the answer. */
  send(slot: number, framed: Uint8Array): Promise<Answer>
  close(): void
}

/** Compressed flag and 4-byte length before a gRPC message. */
export const GRPC_PREFIX = 5

export function grpcTransport(plan: LoadPlan): Transport {
  const connections = Array.from({ length: plan.connections }, () => new GrpcConnection(plan.endpoint))
  return {
    send: (slot, framed) => connections[slot % connections.length]!.send(framed),
    close: () => connections.forEach((connection) => connection.close()),
  }
}

export function httpTransport(plan: LoadPlan): Transport {
  const agent = new Agent({ keepAlive: true, maxSockets: plan.connections })
  const [host, port] = plan.endpoint.split(':')
  const options = { host, port, agent, method: 'POST', path: '/v1/traces' }
  return {
    send: (_slot, framed) =>
      new Promise((resolve) => {
        const body = framed.subarray(GRPC_PREFIX)
        const headers = { 'content-type': 'application/x-protobuf', 'content-length': body.length }
        const call = httpRequest({ ...options, headers }, (response) => {
          response.resume()
          response.on('end', () => resolve(httpAnswer(response.statusCode ?? 0)))
        })
        call.on('error', (error) => resolve({ kind: 'failed', detail: error.message }))
        call.end(body)
      }),
    close: () => agent.destroy(),
  }
}

export function httpAnswer(status: number): Answer {
  if (status >= 200 && status < 300) return { kind: 'ok', detail: '' }
  return { kind: status === 429 || status === 503 ? 'refused' : 'failed', detail: `HTTP ${status}` }
}
