import type { IncomingMessage, ServerResponse } from 'node:http'
import type { z } from 'zod'
import type { ArtifactName } from '../../pipeline/artifact.ts'
import type { Extension } from '../../pipeline/component.ts'
import type { Context } from '../../pipeline/factory.ts'
import { faultOf, reject } from '../../pipeline/fault.ts'
import type { Host } from '../../pipeline/host.ts'
import { serveHttp, type HttpServing } from '../../pipeline/net/http.ts'
import { KeyUsage } from '../../pipeline/identity/usage.ts'
import { parseEndpoint } from '../../pipeline/net/endpoint.ts'
import { isLoopback } from '../../pipeline/net/loopback.ts'
import { ArtifactLinks } from './artifact-links.ts'
import { answersRoute } from './answers.ts'
import { artifactRoute, CONTENT_PATH, contentName } from './artifacts.ts'
import { auditRoutes } from './audit.ts'
import { audited, noteRefusal, originOf } from './audited.ts'
import { readJson } from './body.ts'
import type { config } from './config.ts'
import { cursorRoutes } from './cursors.ts'
import { deadLetterRoutes } from './dead-letters.ts'
import { identityRoutes } from './identity/routes.ts'
import { Authenticator, refuseBrowsers, requireRole, type Principal } from './principal.ts'
import { problemOf } from './problem.ts'
import { QueryRoute } from './query.ts'
import { jobRoutes } from './jobs.ts'
import { paramsOf, type Reply, type Route } from './route.ts'
import { pseudonymRoute } from './pseudonym.ts'
import { replayRoute } from './replay.ts'
import { repriceRoute } from './reprice.ts'
import { routesOf } from './routes.ts'
import { runRoutes } from './runs.ts'

const RELOAD = '/-/reload'

interface Found {
  readonly route: Route
  readonly params: Readonly<Record<string, string>>
}

/** The daemon's own API: status, reload, queries. */
export class ApiExtension implements Extension {
  readonly routes: readonly Route[]
  readonly #config: z.output<typeof config>
  readonly #context: Context
  readonly #authenticator: Authenticator
  readonly #links: ArtifactLinks
  readonly #stopping = new AbortController()
  #serving: HttpServing | undefined

  constructor(options: z.output<typeof config>, context: Context, host: Host) {
    this.#config = options
    this.#context = context
    this.#authenticator = new Authenticator(options.tokens, {
      identity: context.identity,
      usage: new KeyUsage(context.state, context.log),
      clock: context.clock,
      loopback: isLoopback(parseEndpoint(options.endpoint).host),
    })
    this.#links = new ArtifactLinks(host, context)
    this.routes = [
      ...routesOf(host, new QueryRoute(host, options.query), context.clock),
      ...identityRoutes(context),
      pseudonymRoute(context.pseudonyms),
      repriceRoute(host),
      ...deadLetterRoutes(host),
      ...cursorRoutes(host),
      ...jobRoutes(host),
      artifactRoute(host),
      ...runRoutes(host, options),
      replayRoute(host, context, options.replay),
      answersRoute(host, context),
      ...auditRoutes(context.state, host),
    ]
  }

  /** As bound, once started. */
  get address(): string | undefined {
    return this.#serving?.address
  }

  async start(): Promise<void> {
    const { endpoint, tokens } = this.#config
    const hasKeys = [...this.#context.identity.keys()].some(({ kind }) => kind === 'api')
    if (tokens.length === 0 && !hasKeys && !isLoopback(parseEndpoint(endpoint).host)) {
      throw reject(
        'START_FAILED',
        `${this.#context.id}: endpoint ${endpoint} is reachable from other machines: configure tokens, make a key (weir key create --role admin --config …), or use 127.0.0.1`,
      )
    }
    this.#serving = await serveHttp(this.#context.listeners, endpoint, (request, response) => {
      void this.#answer(request, response)
    })
  }

  async stop(deadline: AbortSignal): Promise<void> {
    this.#stopping.abort(reject('SHUTTING_DOWN', 'the API is being replaced or stopped'))
    await this.#serving?.stop(deadline)
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const [path = '', query = ''] = (request.url ?? '').split('?', 2)
    const gone = new AbortController()
    response.once('close', () => gone.abort(reject('CANCELLED', 'the caller is gone')))
    const signal = AbortSignal.any([gone.signal, this.#stopping.signal])
    const origin = originOf(request)
    let actor = this.#authenticator.claimed(request)
    try {
      const linked = contentName(path)
      if (linked !== undefined) return await this.#serveLink(linked, request, response, signal)
      refuseBrowsers(request, this.#authenticator.asksForTokens)
      const principal = await this.#authenticator.authenticate(request)
      actor = principal.actor
      const { route, params } = this.#find(request, path, response, principal)
      const body = route.method === 'GET' ? undefined : await readJson(request)
      const call = { principal, params, query: new URLSearchParams(query), body, signal }
      const work = audited(this.#context.audit, route, call, origin)
      const reply = await Promise.race([work, this.#replaced(path, signal)])
      this.#send(response, route.path, reply, 'application/json')
    } catch (error) {
      const route = `${request.method} ${this.#routesAt(path)[0]?.path ?? 'unknown'}`
      noteRefusal(this.#context.audit, error, actor, route, origin)
      this.#fail(response, path, error)
    } finally {
      request.resume()
    }
  }

  async #serveLink(
    name: ArtifactName,
    request: IncomingMessage,
    response: ServerResponse,
    signal: AbortSignal,
  ): Promise<void> {
    const status = await this.#links.serve(name, request, response, signal)
    this.#context.meter.counter('weir_http_requests').add(1, { route: CONTENT_PATH, status: String(status) })
  }

  /** Who may call what; nothing of the body is read before. */
  #find(request: IncomingMessage, path: string, response: ServerResponse, principal: Principal): Found {
    const found = this.#routesAt(path)
    const route = found.find(({ method }) => method === request.method)
    if (route !== undefined) {
      requireRole(principal, route)
      return { route, params: paramsOf(route, path) ?? {} }
    }
    if (found.length > 0) response.setHeader('allow', found.map(({ method }) => method).join(', '))
    throw reject('NOT_FOUND', `there is no ${request.method} ${path} here`)
  }

  #routesAt(path: string): readonly Route[] {
    return this.routes.filter((route) => paramsOf(route, path) !== undefined)
  }

  /** A reload that replaces this very API is answered before its server is drained, else each waits for the other. */
  #replaced(path: string, signal: AbortSignal): Promise<Reply> {
    return new Promise((resolve, fail) => {
      const over = (): void => {
        if (path === RELOAD && this.#stopping.signal.aborted) {
          resolve({ status: 202, body: { detail: 'the API itself is being replaced; see /v1/status' } })
        } else {
          fail(signal.reason as Error)
        }
      }
      if (signal.aborted) over()
      else signal.addEventListener('abort', over, { once: true })
    })
  }

  #fail(response: ServerResponse, path: string, error: unknown): void {
    if (faultOf(error) === undefined) this.#context.log.error({ error, path }, 'The API failed')
    const { retryAfterMs, ...problem } = problemOf(error)
    const linked = contentName(path) === undefined ? 'unknown' : CONTENT_PATH
    const known = this.#routesAt(path)[0]?.path ?? linked
    if (retryAfterMs !== undefined) response.setHeader('retry-after', Math.ceil(retryAfterMs / 1000))
    if (problem.status === 401) response.setHeader('www-authenticate', 'Bearer')
    const status = response.hasHeader('allow') ? 405 : problem.status
    this.#send(response, known, { status, body: { ...problem, status } }, 'application/problem+json')
  }

  #send(response: ServerResponse, route: string, reply: Reply, type: string): void {
    this.#context.meter.counter('weir_http_requests').add(1, { route, status: String(reply.status) })
    response.setHeader('cache-control', 'no-store')
    response.setHeader('x-content-type-options', 'nosniff')
    // What was not read of the body is not worth reading: the connection ends with the answer.
    if (reply.status >= 400) response.setHeader('connection', 'close')
    response.writeHead(reply.status, { 'content-type': type })
    response.end(`${JSON.stringify(reply.body)}\n`)
  }
}
