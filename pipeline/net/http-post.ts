import { Agent, request as plainRequest, type IncomingHttpHeaders, type IncomingMessage } from 'node:http'
import { Agent as SecureAgent, request as secureRequest } from 'node:https'
import type { SecureContextOptions } from 'node:tls'
import type { ClientTls } from './client-tls.ts'

export interface HttpResponse {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  /** At most `MAX_ANSWER_BYTES`; what is behind is cut. */
  readonly body: Buffer
}

/** OTLP specification: answers should not be larger. */
export const MAX_ANSWER_BYTES = 4 * 1024 * 1024
/** A server that asks for more (a wrong clock, a wrong unit) is asked again after this. */
export const LONGEST_REST_MS = 3_600_000
const IDLE_MS = 30_000

/** POSTs over connections that are kept, with a deadline over the whole exchange. Redirects are not followed. */
export class HttpPoster {
  readonly #url: URL
  readonly #agent: Agent
  readonly #timeoutMs: number

  constructor(
    url: string,
    timeoutMs: number,
    tls?: { readonly context: SecureContextOptions; readonly options: ClientTls | undefined },
  ) {
    this.#url = new URL(url)
    this.#timeoutMs = timeoutMs
    const kept = { keepAlive: true, maxSockets: 16, timeout: IDLE_MS }
    const { options } = tls ?? {}
    this.#agent =
      this.#url.protocol === 'https:'
        ? new SecureAgent({
            ...kept,
            ...tls?.context,
            rejectUnauthorized: options?.insecure_skip_verify !== true,
            ...(options?.server_name_override !== undefined && { servername: options.server_name_override }),
          })
        : new Agent(kept)
  }

  /** Rejects when there is no answer: the connection failed, or the time is up, or `signal` aborted. */
  post(
    headers: Readonly<Record<string, string>>,
    body: Uint8Array,
    signal: AbortSignal,
  ): Promise<HttpResponse> {
    return this.send('POST', '', headers, body, signal)
  }

  /** `path` follows the URL's own. */
  send(
    method: 'GET' | 'POST' | 'PUT',
    path: string,
    headers: Readonly<Record<string, string>>,
    body: Uint8Array,
    signal: AbortSignal,
  ): Promise<HttpResponse> {
    const url = path === '' ? this.#url : new URL(`${this.#url.href.replace(/\/$/, '')}${path}`)
    return new Promise((resolve, fail) => {
      const open = this.#url.protocol === 'https:' ? secureRequest : plainRequest
      const request = open(url, {
        method,
        agent: this.#agent,
        headers: { ...headers, 'content-length': body.length },
      })
      const abort = (): void => void request.destroy(new Error('given up'))
      const timer = setTimeout(
        () => request.destroy(new Error(`no answer within ${this.#timeoutMs} ms`)),
        this.#timeoutMs,
      )
      const end = (): void => {
        clearTimeout(timer)
        signal.removeEventListener('abort', abort)
      }
      signal.addEventListener('abort', abort, { once: true })
      if (signal.aborted) abort()
      request.on('error', (error) => {
        end()
        fail(error)
      })
      request.on('response', (response) => {
        resolve(answerOf(response).finally(end))
      })
      request.end(body)
    })
  }

  /** Requests under way have the timeout to end. */
  close(): void {
    setTimeout(() => this.#agent.destroy(), this.#timeoutMs).unref()
  }
}

async function answerOf(response: IncomingMessage): Promise<HttpResponse> {
  const body = await readBody(response)
  return { status: response.statusCode ?? 0, headers: response.headers, body }
}

/** As far as it comes: the status has said what became of the request. */
async function readBody(response: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      if (size < MAX_ANSWER_BYTES) chunks.push(chunk)
      size += chunk.length
      // A body without end would keep the connection: what came is answer enough.
      if (size > MAX_ANSWER_BYTES) break
    }
  } catch {
    // The connection broke behind the head of the answer.
  }
  return Buffer.concat(chunks)
}

/** `Retry-After` in seconds or as a date → milliseconds from `nowMs`, at most LONGEST_REST_MS; undefined where there is none or it is neither. */
export function retryAfterMs(headers: IncomingHttpHeaders, nowMs: number): number | undefined {
  const value = headers['retry-after']?.trim()
  if (value === undefined || value === '') return undefined
  if (/^\d{1,9}$/.test(value)) return Math.min(Number(value) * 1000, LONGEST_REST_MS)
  const date = Date.parse(value)
  return Number.isNaN(date) ? undefined : Math.min(Math.max(0, date - nowMs), LONGEST_REST_MS)
}
