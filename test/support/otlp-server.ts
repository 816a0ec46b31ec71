import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server as HttpServer,
  type ServerResponse,
} from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { gunzipSync } from 'node:zlib'
import { Metadata, Server, ServerCredentials, status } from '@grpc/grpc-js'
import { encodeRetryInfo, encodeStatus } from '../../proto/google-rpc.ts'

/** OTLP servers of others, for what exporters say to them and hear of them. */

export interface Seen {
  readonly body: Buffer
  readonly headers: Readonly<Record<string, string>>
  /** The name that the client's certificate has; '' without one. */
  readonly client: string
}

/** What is said to one request. `drop` cuts the connection, `hang` never answers. */
export type Said =
  | { readonly ok: true; readonly partial?: { readonly rejected: number; readonly message: string } }
  | {
      readonly code: number
      readonly message?: string
      readonly retryMs?: number
      readonly retryAfter?: string
    }
  | 'hang'
  | 'drop'

export type Handler = (seen: Seen) => Said | Promise<Said>

export interface OtlpServer {
  readonly address: string
  readonly seen: readonly Seen[]
  close(): Promise<void>
}

export interface ServerTlsFiles {
  readonly cert: Buffer
  readonly key: Buffer
  readonly ca: Buffer
}

const EXPORT = '/opentelemetry.proto.collector.trace.v1.TraceService/Export'
const asIs = (bytes: Buffer): Buffer => bytes

/** ExportTraceServiceResponse { partial_success = 1 { rejected_spans = 1, error_message = 2 } }, by hand. */
function responseOf(said: Said): Buffer {
  if (typeof said === 'string' || !('ok' in said) || said.partial === undefined) return Buffer.alloc(0)
  const message = Buffer.from(said.partial.message)
  const inner = Buffer.concat([
    Buffer.from([0x08, ...varint(said.partial.rejected), 0x12, ...varint(message.length)]),
    message,
  ])
  return Buffer.concat([Buffer.from([0x0a, ...varint(inner.length)]), inner])
}

function varint(value: number): number[] {
  return value < 128 ? [value] : [(value & 127) | 128, ...varint(value >>> 7)]
}

export async function startGrpc(handler: Handler, tls?: ServerTlsFiles, maxBytes = -1): Promise<OtlpServer> {
  const seen: Seen[] = []
  const server = new Server({ 'grpc.max_receive_message_length': maxBytes })
  const definition = {
    path: EXPORT,
    requestStream: false,
    responseStream: false,
    requestSerialize: asIs,
    requestDeserialize: asIs,
    responseSerialize: asIs,
    responseDeserialize: asIs,
  } as const
  server.addService({ Export: definition }, {
    Export: (
      call: {
        request: Buffer
        metadata: Metadata
        getAuthContext(): { sslPeerCertificate?: { subject: { CN: string } } }
      },
      answer: (error: object | null, response?: Buffer) => void,
    ) => {
      const headers = Object.fromEntries(
        Object.entries(call.metadata.getMap()).map(([name, value]) => [name, String(value)]),
      )
      const one = {
        body: call.request,
        headers,
        client: call.getAuthContext().sslPeerCertificate?.subject.CN ?? '',
      }
      seen.push(one)
      void (async () => {
        const said = await handler(one)
        if (said === 'drop') answer({ code: status.UNAVAILABLE, details: 'dropped' })
        else if (said !== 'hang' && 'ok' in said) answer(null, responseOf(said))
        else if (said !== 'hang') answer(grpcError(said))
      })()
    },
  } as never)
  const credentials =
    tls === undefined
      ? ServerCredentials.createInsecure()
      : ServerCredentials.createSsl(tls.ca, [{ cert_chain: tls.cert, private_key: tls.key }], true)
  const port = await new Promise<number>((resolve, fail) => {
    server.bindAsync('127.0.0.1:0', credentials, (error, bound) =>
      error === null ? resolve(bound) : fail(error),
    )
  })
  return {
    address: `127.0.0.1:${port}`,
    seen,
    close: () => {
      server.forceShutdown()
      return Promise.resolve()
    },
  }
}

function grpcError({
  code,
  message = '',
  retryMs,
}: {
  code: number
  message?: string
  retryMs?: number
}): object {
  const metadata = new Metadata()
  if (retryMs !== undefined) {
    const details = [
      encodeStatus({ code, message }),
      Buffer.from([0x1a]),
      lengthPrefixed(encodeRetryInfo(retryMs)),
    ]
    metadata.set('grpc-status-details-bin', Buffer.concat(details))
  }
  return { code, details: message, metadata }
}

function lengthPrefixed(bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.from(varint(bytes.length)), bytes])
}

export async function startHttp(handler: Handler, tls?: ServerTlsFiles): Promise<OtlpServer> {
  const seen: Seen[] = []
  const listener = (request: IncomingMessage, response: ServerResponse): void => {
    void (async () => {
      const chunks: Buffer[] = []
      for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk)
      const raw = Buffer.concat(chunks)
      const body = request.headers['content-encoding'] === 'gzip' ? gunzipSync(raw) : raw
      const one = { body, headers: flat(request.headers), client: commonName(request) }
      seen.push(one)
      const said = await handler(one)
      if (said === 'drop') request.socket.destroy()
      else if (said !== 'hang') answerHttp(request, response, said)
    })()
  }
  const server: HttpServer =
    tls === undefined
      ? createServer(listener)
      : createSecureServer({ ...tls, requestCert: true, rejectUnauthorized: true }, listener)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    address: `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}`,
    seen,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

function answerHttp(request: IncomingMessage, response: ServerResponse, said: Exclude<Said, string>): void {
  const type = request.headers['content-type'] ?? ''
  response.setHeader('content-type', type)
  if ('ok' in said) {
    response.end(type.includes('json') ? jsonOf(said) : responseOf(said))
    return
  }
  response.statusCode = said.code
  if (said.retryAfter !== undefined) response.setHeader('retry-after', said.retryAfter)
  const body = { code: 0, message: said.message ?? '' }
  response.end(type.includes('json') ? JSON.stringify(body) : encodeStatus(body))
}

function jsonOf(said: Extract<Said, { ok: true }>): string {
  const { partial } = said
  return partial === undefined
    ? '{}'
    : JSON.stringify({
        partialSuccess: { rejectedSpans: String(partial.rejected), errorMessage: partial.message },
      })
}

function flat(headers: IncomingHttpHeaders): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]))
}

function commonName(request: IncomingMessage): string {
  const socket = request.socket as { getPeerCertificate?: () => { subject?: { CN?: string } } }
  return socket.getPeerCertificate?.().subject?.CN ?? ''
}
