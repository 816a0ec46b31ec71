import type { SecureContextOptions } from 'node:tls'
import type { Batch } from '../../pipeline/batch/batch.ts'
import type { Batching, Delivery, DeliveryOutcome, Exporter } from '../../pipeline/component.ts'
import type { Outcome } from '../../pipeline/consumer.ts'
import { someAtOnce } from '../../pipeline/some-at-once.ts'
import { DeliveryProgress } from '../../pipeline/delivery-progress.ts'
import type { Context } from '../../pipeline/factory.ts'
import { messageOf, retry } from '../../pipeline/fault.ts'
import { clientContextOptions } from '../../pipeline/net/client-tls.ts'
import type { Transport } from './answer.ts'
import type { Config } from './config.ts'
import { Endpoints } from './endpoints.ts'
import { GrpcTransport } from './grpc.ts'
import { HttpTransport } from './http.ts'
import { encodeRequest, halves, planRequests, type Request } from './requests.ts'

/** By the place of a request, `0.1` being the second half of the first one: its end, or that it went in halves. */
type Done = Map<string, readonly Rejected[] | 'halved'>

/** Requests of one delivery under way at once. */
const AT_ONCE = 4
const WARN_EVERY_MS = 60_000

type Rejected = DeliveryOutcome['rejected'][number]

/** Sends spans on by OTLP. What a server took is not sent again by this process; after a crash the range in flight is. */
export class OtlpExporter implements Exporter {
  readonly batching: Batching
  readonly #config: Config
  readonly #context: Context
  readonly #http: boolean
  #endpoints: Endpoints | undefined
  #tls: SecureContextOptions = {}
  #reload: NodeJS.Timeout | undefined
  readonly #progress = new DeliveryProgress<readonly Rejected[] | 'halved'>()
  #warnedMs = -Infinity

  constructor(config: Config, context: Context) {
    this.#config = config
    this.#context = context
    this.#http = (config.protocol ?? protocolOf(context.id)) === 'http'
    const { max_spans: maxSpans, max_bytes: maxBytes, max_wait: maxWaitMs } = config.batch
    this.batching = { maxSpans: maxSpans * AT_ONCE, maxBytes: maxBytes * AT_ONCE, maxWaitMs }
  }

  async start(): Promise<void> {
    if (this.#endpoints !== undefined) return
    const { tls, endpoint, balancer_name: balancer } = this.#config
    this.#tls = tls === undefined ? {} : await clientContextOptions(tls)
    const transports = [endpoint].flat().map((address) => [address, this.#open(address)] as const)
    this.#endpoints = new Endpoints(transports, balancer === 'round_robin', this.#context.clock)
    if (tls?.reload_interval) {
      this.#reload = setInterval(() => void this.#reloadTls(), tls.reload_interval).unref()
    }
  }

  stop(): Promise<void> {
    clearInterval(this.#reload)
    this.#endpoints?.close()
    this.#endpoints = undefined
    return Promise.resolve()
  }

  /** An empty request, which servers take (OTLP specification, "Full Success"). */
  async probe(signal: AbortSignal): Promise<void> {
    const answer = await this.#started().send(new Uint8Array(), signal)
    if (answer.is === 'later') throw this.#unavailable(answer.message, answer.afterMs)
  }

  async consume(batch: Batch, signal: AbortSignal): Promise<Outcome> {
    const done: Done = new Map()
    for (const [place, request] of this.#plan([batch]).entries())
      await this.#send(request, String(place), done, signal)
    return { rejected: rejectedIn(done).map(({ rejection }) => rejection) }
  }

  async deliver(delivery: Delivery, signal: AbortSignal): Promise<DeliveryOutcome> {
    const plan = this.#plan(delivery.batches)
    const done: Done = this.#progress.of(
      delivery,
      plan.map(({ spans }) => spans),
    )
    await someAtOnce(plan.entries(), AT_ONCE, ([place, request]) =>
      this.#send(request, String(place), done, signal),
    )
    this.#progress.finish(delivery)
    return { rejected: rejectedIn(done) }
  }

  #plan(batches: readonly Batch[]): Request[] {
    const { max_spans: maxSpans, max_bytes: maxBytes } = this.#config.batch
    return planRequests(batches, { maxSpans, maxBytes })
  }

  /** Throws what is worth a repeat; what was taken or rejected for good is in `done`, and is not sent again. */
  async #send(request: Request, place: string, done: Done, signal: AbortSignal): Promise<void> {
    const known = done.get(place)
    if (known === undefined) {
      const answer = await this.#started().send(encodeRequest(request), signal)
      if (answer.is === 'later') throw this.#unavailable(answer.message, answer.afterMs)
      if (answer.is === 'taken') done.set(place, this.#taken(request, answer.rejected, answer.message))
      else done.set(place, request.spans === 1 ? rejections(request, answer.message) : 'halved')
    }
    if (done.get(place) !== 'halved') return
    for (const [side, half] of halves(request).entries())
      await this.#send(half, `${place}.${side}`, done, signal)
  }

  #taken(request: Request, rejected: number, message: string): readonly Rejected[] {
    if (rejected <= 0) {
      if (message !== '') this.#warn(message)
      return []
    }
    const reason = message === '' ? 'rejected without a reason' : message
    if (rejected >= request.spans) return rejections(request, reason)
    return someOf(request, rejected, reason)
  }

  #warn(message: string): void {
    const now = this.#context.clock()
    if (now - this.#warnedMs < WARN_EVERY_MS) return
    this.#warnedMs = now
    this.#context.log.warn({ message }, 'The server took the spans with a warning')
  }

  #started(): Endpoints {
    if (this.#endpoints === undefined) throw retry('EXPORT_UNAVAILABLE', `${this.#context.id}: not started`)
    return this.#endpoints
  }

  #unavailable(message: string, afterMs: number): Error {
    return retry('EXPORT_UNAVAILABLE', `${this.#context.id}: ${message}`, afterMs)
  }

  #open(address: string): Transport {
    return this.#http
      ? new HttpTransport(address, this.#config, this.#tls)
      : new GrpcTransport(address, this.#config, this.#tls)
  }

  async #reloadTls(): Promise<void> {
    const { tls } = this.#config
    if (tls === undefined) return
    try {
      const fresh = await clientContextOptions(tls)
      if (JSON.stringify(fresh) === JSON.stringify(this.#tls)) return
      this.#tls = fresh
      this.#endpoints?.replace((address) => this.#open(address))
      this.#context.log.info('TLS certificate reloaded')
    } catch (error) {
      this.#context.log.warn(
        { error: messageOf(error) },
        'TLS files changed but are not usable; the old ones stay',
      )
    }
  }
}

/** `otlp_http/x` and `otlphttp` speak HTTP, as in the collector. */
function protocolOf(id: string): 'grpc' | 'http' {
  return /^otlp_?http(\/|$)/.test(id) ? 'http' : 'grpc'
}

function rejectedIn(done: Done): Rejected[] {
  return Array.from(done.values()).flatMap((rejected) => (rejected === 'halved' ? [] : rejected))
}

function rejections({ parts }: Request, reason: string): Rejected[] {
  return parts.map(({ batch, rows }) => ({ batch, rejection: { rows, reason } }))
}

/**
 * OTLP tells how many, not which. The counts sum up to the server's, and every span that may be meant is in a rejection,
 * so that the dead letters hold all that may be lost.
 */
function someOf({ parts, spans }: Request, rejected: number, message: string): Rejected[] {
  const reason = `${rejected} of the ${spans} spans of one request: ${message}`
  let left = rejected
  return parts.map(({ batch, rows }) => {
    const count = Math.min(left, rows.length)
    left -= count
    return { batch, rejection: { rows, reason, count } }
  })
}
