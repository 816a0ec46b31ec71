import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Entry } from '../admission.ts'
import type { Log } from '../telemetry/log.ts'
import { Refusal } from './refusal.ts'

/** A rest of the body up to this is thrown away and the connection stays. */
const SMALL_BYTES = 1024 * 1024
/**
 * How much of a larger one is read and thrown away before the connection closes: a sender that is cut off while it
 * writes sees a broken pipe instead of the answer, and would send the same again.
 */
const LINGER_BYTES = 128 * 1024 * 1024
/** How long that may take: a server's read timeout must leave room for it. */
export const LINGER_MS = 5000

/** A whole answer of media type `type`. */
export function answer(response: ServerResponse, status: number, body: Uint8Array, type: string): void {
  response.writeHead(status, { 'content-type': type, 'content-length': body.length })
  response.end(body)
}

/** What a refused sender is told. */
export interface RefusalAnswer {
  readonly status: number
  readonly retryAfterMs?: number | undefined
  readonly body: Uint8Array
  readonly type: string
}

/** Answers a request that failed with `error`, whose body may not have been read to its end, and tells `entry`. */
export async function answerRefusal(
  request: IncomingMessage,
  response: ServerResponse,
  error: unknown,
  { status, retryAfterMs, body, type }: RefusalAnswer,
  entry: Entry,
  log: Log,
): Promise<void> {
  if (response.headersSent || response.destroyed) return
  entry.refused?.('http', { error })
  if (status === 500) log.error({ err: error }, 'request failed')
  if (error instanceof Refusal)
    for (const [name, value] of Object.entries(error.headers)) response.setHeader(name, value)
  if (retryAfterMs !== undefined) response.setHeader('retry-after', String(Math.ceil(retryAfterMs / 1000)))
  if (restIsSmall(request)) answer(response, status, body, type)
  else await answerEarly(request, response, status, body, type)
}

/** What is left of the body is nothing, or little: Node throws it away and the connection stays. */
function restIsSmall(request: IncomingMessage): boolean {
  const { 'content-length': declared, 'transfer-encoding': coding } = request.headers
  if (request.complete || (declared === undefined && coding === undefined)) return true
  return !request.readableDidRead && declared !== undefined && Number(declared) <= SMALL_BYTES
}

/**
 * Answers before the body was read. Closing at once would reset the connection under the answer, so a bounded part
 * of the body is read and thrown away first.
 */
async function answerEarly(
  request: IncomingMessage,
  response: ServerResponse,
  status: number,
  body: Uint8Array,
  type: string,
): Promise<void> {
  const http1 = request.httpVersionMajor === 1
  if (http1) response.setHeader('connection', 'close')
  response.writeHead(status, { 'content-type': type, 'content-length': body.length })
  // A sender that waits for 100 Continue sends no body after a refusal.
  if (!http1 || request.headers.expect !== undefined) {
    response.end(body)
    return
  }
  response.write(body)
  await discard(request)
  response.end()
}

function discard(request: IncomingMessage): Promise<void> {
  return new Promise((resolve) => {
    let left = LINGER_BYTES
    const done = () => {
      clearTimeout(timer)
      resolve()
    }
    const timer = setTimeout(done, LINGER_MS)
    request.on('data', (chunk: Buffer) => {
      left -= chunk.length
      if (left < 0) done()
    })
    request.once('end', done).once('close', done)
    request.resume()
  })
}
