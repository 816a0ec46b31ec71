import type { IncomingMessage, ServerResponse } from 'node:http'
import { z } from 'zod'

/** The collector's `cors` block. */
export const corsSchema = z.strictObject({
  allowed_origins: z
    .array(z.string().min(1))
    .default([])
    .describe('Origins that may send, e.g. https://*.example.com; * allows every one.'),
  allowed_headers: z
    .array(z.string().min(1))
    .default([])
    .describe(
      'Request headers that may be sent beyond Accept, Content-Type and X-Requested-With; * allows all.',
    ),
  exposed_headers: z.array(z.string().min(1)).default([]).describe('Response headers that scripts may read.'),
  max_age: z
    .number()
    .int()
    .nonnegative()
    .optional()
    .describe('Seconds that a browser may remember the answer.'),
})

type CorsConfig = z.output<typeof corsSchema>

/** Allowed without being listed, as in the collector. */
const ALWAYS = ['accept', 'accept-language', 'content-type', 'content-language', 'x-requested-with']

/** Answers browsers as the block says. */
export class Cors {
  readonly #origins: readonly RegExp[]
  readonly #config: CorsConfig
  readonly #headers: ReadonlySet<string>

  constructor(config: CorsConfig) {
    this.#config = config
    this.#origins = config.allowed_origins.map(originPattern)
    this.#headers = new Set([...ALWAYS, ...config.allowed_headers.map((name) => name.toLowerCase())])
  }

  /** Adds what a browser needs to read the answer. True: it was a preflight, and it is answered. */
  apply(request: IncomingMessage, response: ServerResponse): boolean {
    response.setHeader('vary', 'Origin')
    const { origin } = request.headers
    const preflight =
      request.method === 'OPTIONS' && request.headers['access-control-request-method'] !== undefined
    if (origin !== undefined && this.#origins.some((pattern) => pattern.test(origin))) {
      response.setHeader('access-control-allow-origin', origin)
      if (preflight) this.#allow(request, response)
      else if (this.#config.exposed_headers.length > 0) {
        response.setHeader('access-control-expose-headers', this.#config.exposed_headers.join(', '))
      }
    }
    if (preflight) response.writeHead(204).end()
    return preflight
  }

  #allow(request: IncomingMessage, response: ServerResponse): void {
    response.setHeader('access-control-allow-methods', 'POST')
    const wanted = (request.headers['access-control-request-headers'] ?? '')
      .split(',')
      .map((name) => name.trim())
    const all = this.#headers.has('*')
    const allowed = wanted.filter((name) => name !== '' && (all || this.#headers.has(name.toLowerCase())))
    if (allowed.length > 0) response.setHeader('access-control-allow-headers', allowed.join(', '))
    if (this.#config.max_age !== undefined)
      response.setHeader('access-control-max-age', String(this.#config.max_age))
  }
}

/** `https://*.example.com` → a pattern; `*` stands for anything. */
function originPattern(origin: string): RegExp {
  const escaped = origin.replaceAll(/[.+?^${}()|[\]\\]/g, String.raw`\$&`).replaceAll('*', '.*')
  return new RegExp(`^${escaped}$`, 'i')
}
