import type { IncomingMessage, ServerResponse } from 'node:http'
import type { z } from 'zod'
import type { Extension } from '../../pipeline/component.ts'
import type { Context } from '../../pipeline/factory.ts'
import type { Health, Host } from '../../pipeline/host.ts'
import { serveHttp, type HttpServing } from '../../pipeline/net/http.ts'
import { checkExposure } from '../../pipeline/net/loopback.ts'
import type { config } from './config.ts'
import {
  httpStatusOf,
  pipelineStatus,
  reasonsOf,
  recordHealth,
  statusOf,
} from '../../pipeline/telemetry/health-report.ts'

const ANSWER_MS = 5000

interface Answer {
  readonly status: number
  readonly body: unknown
}

/** `/livez`, `/readyz`, `/status`: what an orchestrator asks. */
export class HealthExtension implements Extension {
  readonly #config: z.output<typeof config>
  readonly #context: Context
  readonly #host: Host
  #serving: HttpServing | undefined
  #asking: Promise<Health> | undefined

  constructor(options: z.output<typeof config>, context: Context, host: Host) {
    this.#config = options
    this.#context = context
    this.#host = host
  }

  /** As bound, once started. */
  get address(): string | undefined {
    return this.#serving?.address
  }

  async start(): Promise<void> {
    const { endpoint } = this.#config
    checkExposure({
      component: this.#context.id,
      endpoint,
      tls: false,
      authenticated: false,
      insecureBind: this.#config.insecure_bind,
    })
    this.#context.meter.gauge('weir_build_info').set(1, { version: this.#host.version })
    this.#serving = await serveHttp(this.#context.listeners, endpoint, (request, response) => {
      void this.#answer(request, response)
    })
  }

  async stop(deadline: AbortSignal): Promise<void> {
    await this.#serving?.stop(deadline)
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    request.resume()
    const { status, body } = await this.#route(request)
    if (status === 405) response.setHeader('allow', 'GET, HEAD')
    response.setHeader('cache-control', 'no-store')
    response.writeHead(status, { 'content-type': 'application/json' })
    response.end(request.method === 'HEAD' ? undefined : `${JSON.stringify(body)}\n`)
  }

  async #route(request: IncomingMessage): Promise<Answer> {
    const [path = '', query = ''] = (request.url ?? '').split('?', 2)
    const known = ['/livez', '/readyz', '/status', this.#config.path]
    if (!known.includes(path)) return { status: 404, body: { error: `known paths: ${known.join(', ')}` } }
    if (request.method !== 'GET' && request.method !== 'HEAD')
      return { status: 405, body: { error: 'only GET' } }
    if (path === '/livez') return { status: 200, body: { status: 'alive', version: this.#host.version } }
    try {
      const health = await this.#health()
      recordHealth(this.#context.meter, health)
      return path === '/status' ? this.#status(health, new URLSearchParams(query)) : ready(health)
    } catch (error) {
      this.#context.log.error({ error }, 'The health of the daemon could not be read')
      return {
        status: 503,
        body: { status: 'unavailable', reasons: ['the daemon did not answer about its health'] },
      }
    }
  }

  #status(health: Health, query: URLSearchParams): Answer {
    const verbose = query.has('verbose') && query.get('verbose') !== 'false'
    const pipeline = query.get('pipeline')
    const now = this.#context.clock()
    if (pipeline !== null) {
      const node = pipelineStatus(health, pipeline, now, verbose)
      if (node === undefined) return { status: 404, body: { error: 'there is no such pipeline' } }
      return { status: httpStatusOf(node), body: node }
    }
    const node = statusOf(health, now, verbose)
    const more = {
      version: this.#host.version,
      config_digest: health.configDigest,
      durability: health.durability,
    }
    return { status: httpStatusOf(node), body: { ...node, ...more } }
  }

  /** Probes cost something: requests that come together share one answer. */
  #health(): Promise<Health> {
    this.#asking ??= withDeadline(this.#host.health(), ANSWER_MS).finally(() => {
      this.#asking = undefined
    })
    return this.#asking
  }
}

function ready(health: Health): Answer {
  const reasons = reasonsOf(health)
  const word = health.ready ? (reasons.length === 0 ? 'ready' : 'degraded') : 'unavailable'
  const { durability } = health
  return { status: health.ready ? 200 : 503, body: { status: word, reasons, durability } }
}

async function withDeadline<T>(work: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, fail) => {
    timer = setTimeout(() => fail(new Error(`no answer in ${ms} ms`)), ms)
  })
  return Promise.race([work, late]).finally(() => clearTimeout(timer))
}
