import { Agent, request as httpRequest } from 'node:http'
import { connect, constants, type ClientHttp2Session, type IncomingHttpHeaders } from 'node:http2'
import type { LoadPlan } from './plan.ts'

/** How an answer came: `ok` acknowledged, `refused` come again, `failed` anything else. */
export type Answer = { readonly kind: 'ok' | 'refused' | 'failed'; readonly detail: string }

export interface Transport {
  /** `framed`: the 5-byte gRPC prefix and the request; untouched until the answer. */
  send(slot: number, framed: Uint8Array): Promise<Answer>
  close(): void
}

export function openTransport(plan: LoadPlan): Transport {
  return plan.protocol === 'grpc' ? grpcTransport(plan) : httpTransport(plan)
}

/** Compressed flag and 4-byte length before a gRPC message. */
export const GRPC_PREFIX = 5

const GRPC_PATH = '/opentelemetry.proto.collector.trace.v1.TraceService/Export'

/** Unary gRPC over node:http2: real frames at a third of the client CPU of a full gRPC client. */
function grpcTransport(plan: LoadPlan): Transport {
  const sessions: ClientHttp2Session[] = Array.from({ length: plan.connections }, () => {
    const session = connect(`http://${plan.endpoint}`, { settings: { initialWindowSize: 4 * 1024 * 1024 } })
    session.on('error', () => undefined)
    return session
  })
  const headers = {
    [constants.HTTP2_HEADER_METHOD]: 'POST',
    [constants.HTTP2_HEADER_PATH]: GRPC_PATH,
    'content-type': 'application/grpc',
    te: 'trailers',
  }
  return {
    send: (slot, framed) => grpcSend(sessions[slot % sessions.length]!, headers, framed),
    close: () => sessions.forEach((session) => session.destroy()),
  }
}

function grpcSend(
  session: ClientHttp2Session,
  headers: Record<string, string>,
  framed: Uint8Array,
): Promise<Answer> {
  return new Promise((resolve) => {
    const stream = session.request(headers, { endStream: false })
    let status = ''
    const onHeaders = (received: IncomingHttpHeaders): void => {
      status = received['grpc-status']?.toString() ?? status
    }
    stream.on('response', onHeaders)
    stream.on('trailers', onHeaders)
    stream.on('error', (error: Error) => resolve({ kind: 'failed', detail: error.message }))
    stream.on('close', () => resolve(grpcAnswer(status)))
    stream.resume()
    // One write, as gRPC clients do: prefix and message in the same frame.
    stream.end(framed)
  })
}

function grpcAnswer(status: string): Answer {
  if (status === '0') return { kind: 'ok', detail: '' }
  return {
    kind: status === '14' || status === '8' ? 'refused' : 'failed',
    detail: `grpc-status ${status || 'none'}`,
  }
}

function httpTransport(plan: LoadPlan): Transport {
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

function httpAnswer(status: number): Answer {
  if (status === 200) return { kind: 'ok', detail: '' }
  return { kind: status === 429 || status === 503 ? 'refused' : 'failed', detail: `HTTP ${status}` }
}
