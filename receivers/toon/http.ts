import { hash } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Entry } from '../../pipeline/admission.ts'
import type { AgentRuns } from '../../pipeline/agent/agent-runs.ts'
import type { Context } from '../../pipeline/factory.ts'
import { answer, answerRefusal } from '../../pipeline/net/answer.ts'
import { Cors } from '../../pipeline/net/cors.ts'
import { headOf } from '../../pipeline/net/head.ts'
import { serveHttp, type HttpServing } from '../../pipeline/net/http.ts'
import { encodingOf, type Encoding } from '../../pipeline/net/inflate.ts'
import { Passage } from '../../pipeline/net/passage.ts'
import { receive } from '../../pipeline/net/receive.ts'
import { EncodingRefusal, Refusal } from '../../pipeline/net/refusal.ts'
import { servingOptions } from '../../pipeline/net/server-config.ts'
import { formatOf, type Format } from './body.ts'
import type { ToonConfig } from './config.ts'
import { Handlers, type Reply, type ToonRequest } from './handlers.ts'
import { openApi } from './openapi.ts'
import { plain, PROBLEM_JSON, problemBody, problemOf } from './problem.ts'
import { routeOf } from './routes.ts'

const JSON_TYPE = 'application/json'

/** The server: from a request to the handlers, and from what they say to an answer. */
export class ToonHttp {
  readonly #config: ToonConfig
  readonly #context: Context
  readonly #next: Entry
  readonly #handlers: Handlers
  readonly #cors: Cors | undefined
  #serving: HttpServing | undefined
  #openApi: Buffer | undefined

  constructor(config: ToonConfig, context: Context, next: Entry, runs: AgentRuns) {
    this.#config = config
    this.#context = context
    this.#next = next
    const { max_events, max_event_size, max_payload_size, max_depth } = config.limits
    const limits = {
      maxEvents: max_events,
      maxEventBytes: max_event_size,
      maxPayloadBytes: max_payload_size,
      maxDepth: max_depth,
    }
    this.#handlers = new Handlers(runs, limits, context.id)
    this.#cors = config.cors && new Cors(config.cors)
  }

  async start(): Promise<string> {
    const handler = (request: IncomingMessage, response: ServerResponse) =>
      void this.#handle(request, response)
    const options = servingOptions(this.#config, this.#context.log, (status, message) => {
      this.#next.refused?.('http', { error: new Refusal(status, message) })
      return { type: PROBLEM_JSON, body: String(problemBody(plain(status, message))) }
    })
    this.#serving = await serveHttp(this.#context.listeners, this.#config.endpoint, handler, options)
    return this.#serving.address
  }

  async stop(deadline: AbortSignal): Promise<void> {
    await this.#serving?.stop(deadline)
  }

  /** Reads the certificates again, for new connections. */
  async refresh(): Promise<void> {
    await this.#serving?.refresh()
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      if (this.#cors?.apply(request, response)) return
      const route = routeOf(request.method ?? '', request.url ?? '')
      if (route.action === 'describe') {
        this.#openApi ??= Buffer.from(JSON.stringify(openApi()))
        return answer(response, 200, this.#openApi, JSON_TYPE)
      }
      const { action, runId } = route
      const { status, body, headers = {} } = await this.#pass(request, response, { action, runId })
      if (response.headersSent || response.destroyed) return
      for (const [name, value] of Object.entries(headers)) response.setHeader(name, value)
      answer(response, status, Buffer.from(`${JSON.stringify(body)}\n`), JSON_TYPE)
    } catch (error) {
      await this.#refuse(request, response, error)
    }
  }

  /** Admission, body, handler. The sender may go away meanwhile: what was read whole is done whole. */
  async #pass(
    request: IncomingMessage,
    response: ServerResponse,
    route: ToonRequest['route'],
  ): Promise<Reply> {
    const { max_request_body_size: maxBytes, read_timeout: timeoutMs } = this.#config
    const head = headOf(request)
    const encoding = encodingFor(request)
    const format = formatFor(request, route)
    const passage = new Passage(head, this.#context.intake)
    const onClose = () => passage.finish()
    response.once('close', onClose)
    try {
      const raw = await receive(request, response, passage, this.#next, { maxBytes, timeoutMs })
      // From here on the request's memory is held until it is done, gone or not.
      response.off('close', onClose)
      const { admitted } = passage
      // Verified as it came, then inflated.
      if (admitted.wantsDigest) await admitted.verify(hash('sha256', raw, 'buffer'))
      const body = await passage.inflated(raw, encoding, maxBytes)
      return await this.#handlers.handle({
        route,
        admitted,
        header: (name) => head.header(name),
        body,
        format,
      })
    } finally {
      response.off('close', onClose)
      passage.finish()
    }
  }

  #refuse(request: IncomingMessage, response: ServerResponse, error: unknown): Promise<void> {
    const problem = problemOf(error)
    const { status, retryAfterMs } = problem
    const told = { status, retryAfterMs, body: problemBody(problem), type: PROBLEM_JSON }
    return answerRefusal(request, response, error, told, this.#next, this.#context.log)
  }
}

function encodingFor(request: IncomingMessage): Encoding {
  const encoding = encodingOf(request.headers['content-encoding'])
  if (encoding !== undefined) return encoding
  throw new EncodingRefusal(415)
}

/** Who sends no body, or does not say what it is, means JSON where a body is optional. */
function formatFor(request: IncomingMessage, { action }: ToonRequest['route']): Format {
  const format = formatOf(request.headers['content-type'])
  if (format !== undefined) return format
  if (action === 'finish' || action === 'read') return 'json'
  throw new Refusal(415, 'the request has no Content-Type')
}
