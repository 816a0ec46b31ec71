import {
  Client,
  compressionAlgorithms,
  credentials,
  Metadata,
  status,
  type ChannelCredentials,
  type ServiceError,
} from '@grpc/grpc-js'
import { createSecureContext, type SecureContextOptions } from 'node:tls'
import { LONGEST_REST_MS } from '../../pipeline/net/http-post.ts'
import { decodeStatus } from '../../proto/google-rpc.ts'
import { decodeExportTraceResponse } from '../../proto/otlp/response.ts'
import { later, quoted, type Answer, type Transport } from './answer.ts'
import type { Config } from './config.ts'

const EXPORT = '/opentelemetry.proto.collector.trace.v1.TraceService/Export'

/** OTLP specification, "Failures" of OTLP/gRPC; RESOURCE_EXHAUSTED only with RetryInfo. */
const RETRYABLE: ReadonlySet<number> = new Set([
  status.CANCELLED,
  status.DEADLINE_EXCEEDED,
  status.ABORTED,
  status.OUT_OF_RANGE,
  status.UNAVAILABLE,
  status.DATA_LOSS,
])
/** Says that the way is wrong, not the data: an operator mends it without losing a span. */
const MISCONFIGURED: ReadonlySet<number> = new Set([
  status.UNAUTHENTICATED,
  status.PERMISSION_DENIED,
  status.UNIMPLEMENTED,
  status.NOT_FOUND,
])

const asIs = (bytes: Buffer): Buffer => bytes

export class GrpcTransport implements Transport {
  readonly #client: Client
  readonly #metadata = new Metadata()
  readonly #timeoutMs: number

  constructor(address: string, config: Config, context: SecureContextOptions) {
    this.#timeoutMs = config.timeout
    for (const [name, value] of Object.entries(config.headers)) {
      if (!name.toLowerCase().endsWith('-bin')) this.#metadata.set(name, value.reveal())
      else this.#metadata.set(name, Buffer.from(value.reveal(), 'base64'))
    }
    const { target, secure } = targetOf(address, config)
    this.#client = new Client(target, credentialsOf(secure, config, context), {
      'grpc.max_send_message_length': -1,
      // A client of its own per exporter: closing it closes its connections.
      'grpc.use_local_subchannel_pool': 1,
      'grpc.default_compression_algorithm':
        compressionAlgorithms[config.compression === 'gzip' ? 'gzip' : 'identity'],
      'grpc.primary_user_agent': 'weir',
      // What is repeated is for the WAL reader to say.
      'grpc.enable_retries': 0,
      'grpc.initial_reconnect_backoff_ms': 200,
      'grpc.max_reconnect_backoff_ms': 5000,
      ...(config.authority !== undefined && { 'grpc.default_authority': config.authority }),
      ...(config.tls?.server_name_override !== undefined && {
        'grpc.ssl_target_name_override': config.tls.server_name_override,
      }),
      ...(config.keepalive !== undefined && {
        'grpc.keepalive_time_ms': config.keepalive.time,
        'grpc.keepalive_timeout_ms': config.keepalive.timeout,
        'grpc.keepalive_permit_without_calls': config.keepalive.permit_without_stream ? 1 : 0,
      }),
    })
  }

  send(request: Uint8Array, signal: AbortSignal): Promise<Answer> {
    return new Promise((resolve) => {
      const bytes = Buffer.from(request.buffer, request.byteOffset, request.byteLength)
      const deadline = Date.now() + this.#timeoutMs
      const call = this.#client.makeUnaryRequest(
        EXPORT,
        asIs,
        asIs,
        bytes,
        this.#metadata,
        { deadline },
        (error, response) => {
          signal.removeEventListener('abort', cancel)
          resolve(error === null ? taken(response) : failed(error))
        },
      )
      const cancel = (): void => call.cancel()
      signal.addEventListener('abort', cancel, { once: true })
      if (signal.aborted) cancel()
    })
  }

  close(): void {
    this.#client.close()
  }
}

function targetOf(address: string, { tls }: Config): { target: string; secure: boolean } {
  const match = /^(https?):\/\/([^/]+)/.exec(address)
  if (match === null) return { target: address, secure: tls?.insecure !== true }
  return { target: match[2] ?? '', secure: match[1] === 'https' }
}

function credentialsOf(secure: boolean, { tls }: Config, context: SecureContextOptions): ChannelCredentials {
  if (!secure) return credentials.createInsecure()
  return credentials.createFromSecureContext(createSecureContext(context), {
    rejectUnauthorized: tls?.insecure_skip_verify !== true,
  })
}

/** An answer that cannot be read is an OK all the same: the status said so. */
function taken(response: Buffer | undefined): Answer {
  try {
    const partial = response === undefined ? undefined : decodeExportTraceResponse(response)
    return {
      is: 'taken',
      rejected: partial?.rejectedSpans ?? 0,
      message: quoted(partial?.errorMessage ?? ''),
    }
  } catch {
    return { is: 'taken', rejected: 0, message: '' }
  }
}

function failed(error: ServiceError): Answer {
  const { code, details } = error
  const message = `${status[code]}: ${quoted(details)}`
  const retryMs = retryInfo(error)
  if (code === status.RESOURCE_EXHAUSTED) {
    return retryMs === undefined ? { is: 'too_large', message } : later(message, retryMs)
  }
  if (RETRYABLE.has(code) || MISCONFIGURED.has(code)) return later(message, retryMs)
  return { is: 'rejected', message }
}

function retryInfo({ metadata }: ServiceError): number | undefined {
  // An error of the client itself has none.
  const [bin] = (metadata as Metadata | undefined)?.get('grpc-status-details-bin') ?? []
  if (!(bin instanceof Uint8Array)) return undefined
  try {
    for (const detail of decodeStatus(bin).details ?? [])
      if ('retryMs' in detail) return Math.min(detail.retryMs, LONGEST_REST_MS)
  } catch {
    // Not a Status: then there is no such time.
  }
  return undefined
}
