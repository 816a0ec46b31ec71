import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Entry } from '../../pipeline/admission.ts'
import type { Context } from '../../pipeline/factory.ts'
import { retry } from '../../pipeline/fault.ts'
import { answer, answerRefusal } from '../../pipeline/net/answer.ts'
import { Cors } from '../../pipeline/net/cors.ts'
import { headOf, peerOf } from '../../pipeline/net/head.ts'
import { serveHttp, type HttpServing } from '../../pipeline/net/http.ts'
import { encodingOf, type Encoding } from '../../pipeline/net/inflate.ts'
import { Passage } from '../../pipeline/net/passage.ts'
import { receive } from '../../pipeline/net/receive.ts'
import { EncodingRefusal, Refusal } from '../../pipeline/net/refusal.ts'
import { servingOptions } from '../../pipeline/net/server-config.ts'
import type { HttpConfig } from './config.ts'
import { Delivery } from './deliver.ts'
import { OncePerSender } from './once-per-sender.ts'
import type { Protocol } from './otlp.ts'
import { refusalStatus } from './refusal.ts'
import { exportResponse, MEDIA_TYPE, statusBody, type Format } from './reply.ts'

const OTHER_SIGNALS = ['/v1/logs', '/v1/metrics', '/v1development/profiles']

/** OTLP/HTTP: protobuf and JSON on one path; every refusal's body is a google.rpc.Status in the request's type. */
export class HttpProtocol implements Protocol {
  readonly #config: HttpConfig
  readonly #context: Context
  readonly #next: Entry
  readonly #delivery: Delivery
  readonly #cors: Cors | undefined
  readonly #otherSignals: OncePerSender
  #serving: HttpServing | undefined

  constructor(config: HttpConfig, context: Context, next: Entry) {
    this.#config = config
    this.#context = context
    this.#next = next
    this.#delivery = new Delivery(context, next, 'http', config.max_request_body_size)
    this.#cors = config.cors && new Cors(config.cors)
    this.#otherSignals = new OncePerSender(context.log)
  }

  async start(): Promise<string> {
    const handler = (request: IncomingMessage, response: ServerResponse) =>
      void this.#handle(request, response)
    // What cannot be parsed has no content type; people and proxies read JSON.
    const options = servingOptions(this.#config, this.#context.log, (http, message) => {
      const refusal = new Refusal(http, message)
      this.#next.refused?.('http', { error: refusal })
      const body = statusBody(refusalStatus(refusal), 'json')
      return { type: MEDIA_TYPE.json, body: String(body) }
    })
    this.#serving = await serveHttp(this.#context.listeners, this.#config.endpoint, handler, options)
    return this.#serving.address
  }

  async stop(deadline: AbortSignal): Promise<void> {
    await this.#serving?.stop(deadline)
  }

  async refresh(): Promise<void> {
    await this.#serving?.refresh()
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const format = formatOf(request)
    try {
      if (this.#cors?.apply(request, response)) return
      const encoding = this.#route(request, format)
      const body = await this.#export(request, response, format ?? 'json', encoding)
      answer(response, 200, body, MEDIA_TYPE[format ?? 'json'])
    } catch (error) {
      await this.#refuse(request, response, error, format ?? 'json')
    }
  }

  /** What is wrong with the request line and the headers, in the order of the statuses' meaning. */
  #route(request: IncomingMessage, format: Format | undefined): Encoding {
    const [path = ''] = (request.url ?? '').split('?', 1)
    if (path !== this.#config.traces_url_path) throw this.#noSuchRoute(request, path)
    if (request.method !== 'POST') throw new Refusal(405, `${path} takes POST only`, { allow: 'POST' })
    if (format === undefined) {
      throw new Refusal(415, `Content-Type must be ${MEDIA_TYPE.protobuf} or ${MEDIA_TYPE.json}`)
    }
    const encoding = encodingOf(request.headers['content-encoding'])
    if (encoding !== undefined) return encoding
    // 400 as the collector answers (notes/collector.md section 2, rule 1), not 415.
    throw new EncodingRefusal(400)
  }

  #noSuchRoute(request: IncomingMessage, path: string): Refusal {
    if (!OTHER_SIGNALS.includes(path)) return new Refusal(404, `there is nothing at ${path.slice(0, 200)}`)
    this.#otherSignals.warn(peerOf(request), path)
    return new Refusal(404, `weir takes traces only; there is nothing at ${path}`)
  }

  async #export(request: IncomingMessage, response: ServerResponse, format: Format, encoding: Encoding) {
    const passage = new Passage(headOf(request), this.#context.intake)
    const abort = new AbortController()
    const onClose = () => abort.abort(retry('CANCELLED', 'the sender went away'))
    response.once('close', onClose)
    try {
      const bytes = await receive(request, response, passage, this.#next, {
        maxBytes: this.#config.max_request_body_size,
        timeoutMs: this.#config.read_timeout,
      })
      const outcome = await this.#delivery.deliver(passage, { bytes, encoding, format }, abort.signal)
      return exportResponse(outcome, format)
    } finally {
      response.off('close', onClose)
      // Not when the sender goes: what the pipeline was given it holds until it has answered.
      passage.finish()
    }
  }

  #refuse(request: IncomingMessage, response: ServerResponse, error: unknown, format: Format): Promise<void> {
    const status = refusalStatus(error)
    const { http, retryAfterMs } = status
    const told = { status: http, retryAfterMs, body: statusBody(status, format), type: MEDIA_TYPE[format] }
    return answerRefusal(request, response, error, told, this.#next, this.#context.log)
  }
}

function formatOf(request: IncomingMessage): Format | undefined {
  const [type = ''] = (request.headers['content-type'] ?? '').split(';', 1)
  const name = type.trim().toLowerCase()
  if (name === MEDIA_TYPE.protobuf) return 'protobuf'
  return name === MEDIA_TYPE.json ? 'json' : undefined
}
