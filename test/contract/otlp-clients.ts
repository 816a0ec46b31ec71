import { request, type Agent, type IncomingHttpHeaders, type IncomingMessage } from 'node:http'
import { request as secureRequest } from 'node:https'
import type { SecureContextOptions } from 'node:tls'
import { fileURLToPath } from 'node:url'
import { Client, credentials, Metadata, type ChannelCredentials, type ServiceError } from '@grpc/grpc-js'
import protobuf from 'protobufjs'

/**
 * Raw OTLP clients for tests. What they read is decoded by protobufjs from the vendored .proto files, so that our own
 * codecs are not their own judge.
 */
const root = new protobuf.Root()
const vendor = fileURLToPath(new URL('../../proto/vendor/', import.meta.url))
root.resolvePath = (_, target) => (target.startsWith('google/protobuf/') ? target : vendor + target)
root.loadSync([
  'opentelemetry/proto/collector/trace/v1/trace_service.proto',
  'google/rpc/status.proto',
  'google/rpc/error_details.proto',
])
const RequestType = root.lookupType('opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest')
const ResponseType = root.lookupType('opentelemetry.proto.collector.trace.v1.ExportTraceServiceResponse')
const StatusType = root.lookupType('google.rpc.Status')
const RetryInfoType = root.lookupType('google.rpc.RetryInfo')

const TRACE_ID = '5b8efff798038103d269b633813fc60c'
const SPAN_ID = 'eee19b7ec3c1b174'

/** An ExportTraceServiceRequest with one span per name. */
export function tracesRequest(...names: string[]): Buffer {
  const spans = names.map((name) => ({
    traceId: Buffer.from(TRACE_ID, 'hex'),
    spanId: Buffer.from(SPAN_ID, 'hex'),
    name,
    startTimeUnixNano: 1_700_000_000_000_000_000n.toString(),
    endTimeUnixNano: 1_700_000_001_000_000_000n.toString(),
  }))
  const message = RequestType.fromObject({ resourceSpans: [{ scopeSpans: [{ spans }] }] })
  return Buffer.from(RequestType.encode(message).finish())
}

/** An OTLP/JSON document as the same message in protobuf. */
export function encodeDocument(document: object): Buffer {
  const asBytes = (key: string, value: unknown): unknown =>
    /^(?:traceId|spanId|parentSpanId)$/.test(key)
      ? Buffer.from(String(value), 'hex').toString('base64')
      : value
  const message = RequestType.fromObject(JSON.parse(JSON.stringify(document, asBytes)) as object)
  return Buffer.from(RequestType.encode(message).finish())
}

export function tracesJson(...names: string[]): Buffer {
  const spans = names.map((name) => ({
    traceId: TRACE_ID,
    spanId: SPAN_ID,
    name,
    startTimeUnixNano: '1700000000000000000',
    endTimeUnixNano: 1700000001000000000,
  }))
  return Buffer.from(JSON.stringify({ resourceSpans: [{ scopeSpans: [{ spans }] }] }))
}

export interface RpcStatus {
  readonly code: number
  readonly message: string
  /** From RetryInfo in the details; undefined when there is none. */
  readonly retryDelayMs?: number
}

export function readStatus(bytes: Uint8Array): RpcStatus {
  const { code, message, details } = StatusType.toObject(StatusType.decode(bytes), {
    defaults: true,
    arrays: true,
  })
  for (const { type_url: typeUrl, typeUrl: camel, value } of details) {
    if (!String(typeUrl ?? camel).endsWith('/google.rpc.RetryInfo')) continue
    const { retryDelay } = RetryInfoType.toObject(RetryInfoType.decode(value), {
      longs: Number,
      defaults: true,
    })
    return { code, message, retryDelayMs: retryDelay.seconds * 1000 + retryDelay.nanos / 1e6 }
  }
  return { code, message }
}

/** `{}` on full success. */
export function readTraceResponse(bytes: Uint8Array): Record<string, unknown> {
  return ResponseType.toObject(ResponseType.decode(bytes), { longs: Number })
}

export interface HttpAnswer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

export interface HttpAsk {
  readonly method?: string
  readonly path?: string
  /** A list is sent as so many headers. */
  readonly headers?: Record<string, string | string[]>
  readonly body?: Uint8Array
  readonly agent?: Agent
  /** Speaks TLS so. */
  readonly tls?: SecureContextOptions
}

export const PROTOBUF = { 'content-type': 'application/x-protobuf' }
export const JSON_TYPE = { 'content-type': 'application/json' }

/** One HTTP/1.1 request; POST of protobuf to /v1/traces unless told otherwise. */
export function ask(port: number, options: HttpAsk = {}): Promise<HttpAnswer> {
  const { method = 'POST', path = '/v1/traces', headers = PROTOBUF, body, agent, tls } = options
  const where = { host: '127.0.0.1', port, method, path, headers, agent: agent ?? false }
  return new Promise((resolve, reject) => {
    const receive = (response: IncomingMessage) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () => {
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          body: Buffer.concat(chunks),
        })
      })
    }
    const sent = tls ? secureRequest({ ...where, ...tls }, receive) : request(where, receive)
    sent.on('error', reject)
    if (body) sent.setHeader('content-length', body.length)
    sent.end(body)
  })
}

export interface GrpcAnswer {
  /** 0 is OK. */
  readonly code: number
  readonly message: string
  readonly response: Record<string, unknown> | undefined
  /** What `grpc-status-details-bin` held. */
  readonly details: RpcStatus | undefined
}

export interface GrpcAsk {
  readonly path?: string
  readonly headers?: Record<string, string | string[]>
  readonly gzip?: boolean
  readonly deadlineMs?: number
}

const TRACES = '/opentelemetry.proto.collector.trace.v1.TraceService/Export'
const identity = (bytes: Buffer) => bytes
/** `grpc.default_compression_algorithm` of grpc-js. */
const GZIP = 2

/** A grpc-js client that sends bytes as they are. */
export class RawGrpcClient {
  readonly #client: Client

  constructor(address: string, secure: ChannelCredentials = credentials.createInsecure(), options = {}) {
    this.#client = new Client(address, secure, {
      'grpc.max_send_message_length': -1,
      'grpc.use_local_subchannel_pool': 1,
      ...options,
    })
  }

  static gzip(address: string): RawGrpcClient {
    return new RawGrpcClient(address, undefined, { 'grpc.default_compression_algorithm': GZIP })
  }

  export(body: Uint8Array, options: GrpcAsk = {}): Promise<GrpcAnswer> {
    const metadata = new Metadata()
    for (const [name, value] of Object.entries(options.headers ?? {})) {
      for (const each of [value].flat()) metadata.add(name, each)
    }
    const { path = TRACES, deadlineMs = 20_000 } = options
    return new Promise((resolve) => {
      const deadline = Date.now() + deadlineMs
      this.#client.makeUnaryRequest(
        path,
        identity,
        identity,
        Buffer.from(body),
        metadata,
        { deadline },
        (error, response) => resolve(answerOf(error, response)),
      )
    })
  }

  close(): void {
    this.#client.close()
  }
}

function answerOf(error: ServiceError | null, response: Buffer | undefined): GrpcAnswer {
  const bin = error?.metadata?.get('grpc-status-details-bin')[0]
  return {
    code: error?.code ?? 0,
    message: error?.details ?? '',
    response: response && readTraceResponse(response),
    details: bin instanceof Buffer ? readStatus(bin) : undefined,
  }
}
