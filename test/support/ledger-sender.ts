import { connect, constants, type ClientHttp2Session, type IncomingHttpHeaders } from 'node:http2'
import { setTimeout as delay } from 'node:timers/promises'
import { fixed64, len } from '../otlp/wire-writer.ts'

/** Requests whose spans are known by arithmetic: request `n` is trace `traceId(n)` with spans 1 to `spansPerRequest`. */
export interface LedgerPlan {
  /** host:port of OTLP gRPC, asked anew for each connection; several daemons may take turns. */
  readonly endpoint: () => string
  readonly senders: number
  readonly spansPerRequest: number
  /** Number of the first request; default 1. Equal requests are duplicates of each other. */
  readonly firstRequest?: number
  /** Stops after so many. */
  readonly requests?: number
  /** Told of each OK by its number: true cuts the connection, as if the answer had never come, and sends again. */
  readonly loses?: (answers: number) => boolean
  /** Told of each attempt by its number: cuts the connection so many ms after the request has gone out. */
  readonly hangsUpMs?: (attempts: number) => number | undefined
  /** An attempt without an answer is given up after this; default 5 s. */
  readonly deadlineMs?: number
  /** Pause of a sender between two requests, asked anew each time if it is a function; default none. */
  readonly paceMs?: number | (() => number)
}

export interface LedgerSender {
  /** Request numbers that were acknowledged. */
  readonly acked: ReadonlySet<number>
  readonly spansPerRequest: number
  readonly figures: LedgerFigures
  /** Resolves when the acknowledged requests have grown by `more`. */
  progress(more: number, timeoutMs?: number): Promise<void>
  /** No new requests; resolves once each one begun is acknowledged. Throws what a final refusal said. */
  finish(timeoutMs?: number): Promise<void>
  /** Drops everything. */
  abort(): void
}

export interface LedgerFigures {
  attempts: number
  /** Attempts that ended without OK, by gRPC status (or `none`). */
  readonly failures: Record<string, number>
  /** Answers that the client pretended not to have seen. */
  lost: number
  /** Longest time without any acknowledgement. */
  longestGapMs: number
}

const GRPC_PATH = '/opentelemetry.proto.collector.trace.v1.TraceService/Export'
const MOST_PAUSE_MS = 200
/** UNAVAILABLE, RESOURCE_EXHAUSTED, DEADLINE_EXCEEDED, ABORTED, CANCELLED, no answer: the OTLP spec's retryable ones. */
const RETRYABLE = new Set(['14', '8', '4', '10', '1', 'none'])

export function traceId(request: number): string {
  return `1ed9e4${request.toString(16).padStart(26, '0')}`
}

/** The inverse of `traceId`. */
export function requestOf(trace: string): number {
  return Number.parseInt(trace.slice(6), 16)
}

export function startSender(plan: LedgerPlan): LedgerSender {
  const { spansPerRequest } = plan
  const acked = new Set<number>()
  const figures: LedgerFigures = { attempts: 0, failures: {}, lost: 0, longestGapMs: 0 }
  const stop = new AbortController()
  let next = plan.firstRequest ?? 1
  const end = next + (plan.requests ?? Infinity)
  const finishing = new AbortController()
  let answers = 0
  let lastAckMs = performance.now()
  let refusal: Error | undefined

  const deliver = async (wire: Wire, request: number): Promise<void> => {
    const body = requestBytes(request, spansPerRequest)
    let failures = 0
    while (!stop.signal.aborted) {
      figures.attempts++
      const status = await wire.send(body, plan.hangsUpMs?.(figures.attempts))
      if (status === '0') {
        if (plan.loses?.(++answers) === true) {
          figures.lost++
          wire.close()
          continue
        }
        const nowMs = performance.now()
        figures.longestGapMs = Math.max(figures.longestGapMs, nowMs - lastAckMs)
        lastAckMs = nowMs
        acked.add(request)
        return
      }
      figures.failures[status] = (figures.failures[status] ?? 0) + 1
      if (!RETRYABLE.has(status))
        throw new Error(`request ${request} was refused for good: grpc-status ${status}`)
      // While a daemon starts, who asks on and on takes the processor from it.
      await delay(Math.min(20 * 2 ** failures++, MOST_PAUSE_MS) * (1 + Math.random()))
    }
  }

  const run = async (): Promise<void> => {
    const wire = new Wire(plan.endpoint, plan.deadlineMs ?? 5000)
    try {
      while (next < end && !finishing.signal.aborted && !stop.signal.aborted) {
        await deliver(wire, next++)
        const { paceMs } = plan
        if (paceMs !== undefined) await delay(typeof paceMs === 'number' ? paceMs : paceMs())
      }
    } catch (error) {
      refusal ??= error as Error
      stop.abort()
    } finally {
      wire.close()
    }
  }
  const running = Promise.all(Array.from({ length: plan.senders }, run))

  return {
    acked,
    spansPerRequest,
    figures,
    async progress(more, timeoutMs = 60_000) {
      const wanted = acked.size + more
      const endMs = performance.now() + timeoutMs
      while (acked.size < wanted) {
        if (refusal !== undefined) throw refusal
        if (performance.now() > endMs) throw new Error(`no progress: ${acked.size} of ${wanted} acknowledged`)
        await delay(5)
      }
    },
    async finish(timeoutMs = 120_000) {
      finishing.abort()
      const timer = setTimeout(() => {
        refusal ??= new Error(`after ${timeoutMs} ms some requests were not acknowledged, ${acked.size} were`)
        stop.abort()
      }, timeoutMs)
      await running
      clearTimeout(timer)
      if (refusal !== undefined) throw refusal
    },
    abort: () => stop.abort(),
  }
}

/** Unary gRPC over a connection that is made again when it breaks. */
class Wire {
  readonly #endpoint: () => string
  readonly #deadlineMs: number
  #session: ClientHttp2Session | undefined

  constructor(endpoint: () => string, deadlineMs: number) {
    this.#endpoint = endpoint
    this.#deadlineMs = deadlineMs
  }

  /** `grpc-status`, or `none` without an answer. Never rejects. */
  send(body: Uint8Array, hangsUpMs = this.#deadlineMs): Promise<string> {
    const session = this.#open()
    return new Promise((resolve) => {
      let status = 'none'
      const stream = session.request({
        [constants.HTTP2_HEADER_METHOD]: 'POST',
        [constants.HTTP2_HEADER_PATH]: GRPC_PATH,
        'content-type': 'application/grpc',
        te: 'trailers',
      })
      const timer = setTimeout(() => {
        // A connection that does not answer is given up whole: what hangs may be the process behind it.
        session.destroy()
      }, hangsUpMs)
      const onHeaders = (headers: IncomingHttpHeaders): void => {
        const found = headers['grpc-status']
        if (typeof found === 'string') status = found
      }
      stream.on('response', onHeaders)
      stream.on('trailers', onHeaders)
      stream.on('error', () => undefined)
      stream.on('close', () => {
        clearTimeout(timer)
        resolve(status)
      })
      stream.resume()
      const prefix = Buffer.alloc(5)
      prefix.writeUInt32BE(body.length, 1)
      stream.end(Buffer.concat([prefix, body]))
    })
  }

  #open(): ClientHttp2Session {
    const present = this.#session
    if (present !== undefined && !present.closed && !present.destroyed) return present
    const session = connect(`http://${this.#endpoint()}`)
    session.on('error', () => undefined)
    session.on('goaway', () => session.close())
    this.#session = session
    return session
  }

  close(): void {
    this.#session?.destroy()
  }
}

const DAY_NS = 86_400_000_000_000n

/** Spans of today and yesterday: two partitions, so that an interrupted insert can leave a part of a request. */
function requestBytes(request: number, spans: number): Uint8Array {
  const trace = len(1, Buffer.from(traceId(request), 'hex'))
  const encoded = Array.from({ length: spans }, (_, index) => {
    const spanId = Buffer.alloc(8)
    spanId.writeUInt32BE(index + 1, 4)
    const start = START_NS - BigInt(index % 2) * DAY_NS + BigInt(request) * 1000n
    return len(
      2,
      trace,
      len(2, spanId),
      len(5, `step ${index}`),
      fixed64(7, start),
      fixed64(8, start + 1_000_000n),
    )
  })
  return len(1, len(2, ...encoded))
}

const START_NS = BigInt(Date.now()) * 1_000_000n
