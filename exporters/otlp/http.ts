import type { SecureContextOptions } from 'node:tls'
import { decodeBatch } from '../../pipeline/batch/otlp-batch.ts'
import type { BatchMeta } from '../../pipeline/batch/batch.ts'
import { messageOf } from '../../pipeline/fault.ts'
import { compress } from '../../pipeline/net/compress.ts'
import { HttpPoster, retryAfterMs, type HttpResponse } from '../../pipeline/net/http-post.ts'
import { decodeStatus, statusFromJson } from '../../proto/google-rpc.ts'
import {
  decodeExportTraceResponse,
  exportTraceResponseFromJson,
  type PartialSuccess,
} from '../../proto/otlp/response.ts'
import { later, quoted, type Answer, type Transport } from './answer.ts'
import type { Config } from './config.ts'

const TOO_LARGE = 413
/** OTLP specification, "Failures" of OTLP/HTTP. */
const RETRYABLE: ReadonlySet<number> = new Set([429, 502, 503, 504])
/** Says that the way is wrong, not the data: an operator mends it without losing a span. */
const MISCONFIGURED: ReadonlySet<number> = new Set([401, 403, 404, 405, 407, 415])

export class HttpTransport implements Transport {
  readonly #poster: HttpPoster
  readonly #config: Config
  readonly #headers: Readonly<Record<string, string>>

  constructor(address: string, config: Config, context: SecureContextOptions) {
    this.#config = config
    this.#poster = new HttpPoster(urlOf(address, config), config.timeout, { context, options: config.tls })
    const given = Object.entries(config.headers).map(([name, value]) => [name, value.reveal()] as const)
    this.#headers = {
      'user-agent': 'weir',
      ...Object.fromEntries(given),
      'content-type': config.encoding === 'json' ? 'application/json' : 'application/x-protobuf',
      ...(config.compression !== 'none' && { 'content-encoding': config.compression }),
    }
  }

  async send(request: Uint8Array, signal: AbortSignal): Promise<Answer> {
    const plain = this.#config.encoding === 'json' ? asJson(request) : request
    const body = await compress(plain, this.#config.compression)
    try {
      return answerOf(await this.#poster.post(this.#headers, body, signal))
    } catch (error) {
      return later(quoted(messageOf(error)))
    }
  }

  close(): void {
    this.#poster.close()
  }
}

function urlOf(address: string, { tls, traces_endpoint: whole }: Config): string {
  if (whole !== undefined) return whole
  const base = address.includes('://') ? address : `${tls?.insecure === true ? 'http' : 'https'}://${address}`
  return `${base.replace(/\/+$/, '')}/v1/traces`
}

const NOBODY: BatchMeta = {
  signal: 'traces',
  tenant: 'default',
  project: '',
  principal: '',
  source: '',
  receivedAtMs: 0,
  digest: new Uint8Array(16),
}

function asJson(request: Uint8Array): Buffer {
  return Buffer.from(decodeBatch(request, NOBODY).toJson())
}

function answerOf(response: HttpResponse): Answer {
  const { status, headers } = response
  if (status >= 200 && status < 300) {
    const partial = partialOf(response)
    return {
      is: 'taken',
      rejected: partial?.rejectedSpans ?? 0,
      message: quoted(partial?.errorMessage ?? ''),
    }
  }
  const message = `HTTP ${status}${said(response)}`
  if (status === TOO_LARGE) return { is: 'too_large', message }
  if (RETRYABLE.has(status)) return later(message, retryAfterMs(headers, Date.now()))
  if (MISCONFIGURED.has(status) || status < 400) return later(message)
  return { is: 'rejected', message }
}

function isJson({ headers }: HttpResponse): boolean {
  return /^application\/json\b/i.test(headers['content-type'] ?? '')
}

/** An answer that cannot be read is an OK all the same: the status said so. */
function partialOf(response: HttpResponse): PartialSuccess | undefined {
  try {
    if (isJson(response)) return exportTraceResponseFromJson(response.body.toString())
    if (!/^application\/x-protobuf\b/i.test(response.headers['content-type'] ?? '')) return undefined
    return decodeExportTraceResponse(response.body)
  } catch {
    return undefined
  }
}

function said(response: HttpResponse): string {
  try {
    const { headers, body } = response
    const isProto = /^application\/x-protobuf\b/i.test(headers['content-type'] ?? '')
    const text = isProto
      ? decodeStatus(body).message
      : ((isJson(response) ? statusFromJson(body.toString())?.message : undefined) ?? body.toString())
    return text === '' ? '' : `: ${quoted(text)}`
  } catch {
    return ''
  }
}
