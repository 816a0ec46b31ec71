import { messageOf } from '../../fault.ts'
import { HttpPoster, retryAfterMs, type HttpResponse } from '../../net/http-post.ts'
import { valueOf } from '../../runs/canonical.ts'
import type { Secret } from '../../secret.ts'
import { sleep } from '../../sleep.ts'
import type { PlannedCall, Reply, Source } from '../plan.ts'
import { anthropic } from './anthropic.ts'
import type { Asked, Dialect } from './dialect.ts'
import { openai } from './openai.ts'

export const DIALECTS = { openai, anthropic } as const satisfies Record<string, Dialect>

export interface ModelEndpoint {
  readonly type: keyof typeof DIALECTS
  /** Up to what `Dialect.path` begins with. */
  readonly endpoint: string
  readonly api_key?: Secret | undefined
  readonly headers: Readonly<Record<string, Secret>>
  readonly timeout: number
}

const TRIES = 3
const LONGEST_WAIT_MS = 20_000

/** Asks a model again what it was asked. */
export class ModelSource implements Source {
  readonly from = 'model'
  readonly #endpoint: ModelEndpoint
  readonly #dialect: Dialect
  readonly #poster: HttpPoster
  /** Instead of the model that was asked. */
  readonly #model: string | undefined

  constructor(endpoint: ModelEndpoint, model: string | undefined) {
    this.#endpoint = endpoint
    this.#dialect = DIALECTS[endpoint.type]
    this.#poster = new HttpPoster(endpoint.endpoint, endpoint.timeout)
    this.#model = model
  }

  async answer({ request, snapshot, step }: PlannedCall, signal: AbortSignal): Promise<Reply> {
    if (request?.kind !== 'llm' || request.messages === undefined) {
      return { missing: 'what the model was asked is not recorded' }
    }
    if (!CHATS.has(step.operation)) return { missing: `${step.operation} is no call that is made again` }
    const asked: Asked = {
      request,
      model: this.#model ?? request.model,
      params: { ...sampling(snapshot), ...request.params },
    }
    const began = performance.now()
    const response = await this.#ask(asked, signal)
    if (typeof response === 'string') return { missing: response }
    const told = this.#dialect.toldOf(valueOf(response.body.toString()))
    if (told === undefined) return { missing: 'the endpoint answered with something else than an answer' }
    return { answer: { ...told, status: 'ok', durationMs: performance.now() - began } }
  }

  close(): void {
    this.#poster.close()
  }

  /** Or why there is no answer: never what the endpoint wrote, which may quote the key. */
  async #ask(asked: Asked, signal: AbortSignal): Promise<HttpResponse | string> {
    const body = Buffer.from(JSON.stringify(this.#dialect.bodyOf(asked)))
    for (let tries = 1; ; tries++) {
      const response = await this.#post(body, signal).catch((error: unknown) => error)
      signal.throwIfAborted()
      if (isResponse(response) && response.status === 200) return response
      const isWorthIt = !isResponse(response) || response.status === 429 || response.status >= 500
      if (!isWorthIt || tries === TRIES) {
        return isResponse(response)
          ? `the endpoint refused it: HTTP ${response.status}`
          : `the endpoint cannot be reached: ${messageOf(response)}`
      }
      const asksFor = isResponse(response) ? (retryAfterMs(response.headers, Date.now()) ?? 0) : 0
      const backOffMs = 500 * 2 ** tries * (0.5 + Math.random() / 2)
      await sleep(Math.min(Math.max(asksFor, backOffMs), LONGEST_WAIT_MS), signal)
    }
  }

  #post(body: Uint8Array, signal: AbortSignal): Promise<HttpResponse> {
    const { api_key: key, headers } = this.#endpoint
    const own = Object.entries(headers).map(([name, value]) => [name, value.reveal()] as const)
    return this.#poster.send(
      'POST',
      this.#dialect.path,
      {
        'content-type': 'application/json',
        accept: 'application/json',
        ...this.#dialect.headers(key?.reveal()),
        ...Object.fromEntries(own),
      },
      body,
      signal,
    )
  }
}

/** As the conventions name it; toon's events are chats. */
const CHATS: ReadonlySet<string> = new Set(['chat', 'generate_content', 'text_completion'])

function isResponse(value: unknown): value is HttpResponse {
  return typeof value === 'object' && value !== null && 'status' in value && 'body' in value
}

/** What the run was started with. */
function sampling({ seed, sampling: given }: PlannedCall['snapshot']): Record<string, unknown> {
  const numbers = Object.entries(given)
    .map(([key, text]) => [key, Number(text)] as const)
    .filter(([, number]) => Number.isFinite(number))
  return { ...Object.fromEntries(numbers), ...(seed !== null && { seed }) }
}
