import { z } from 'zod'
import { duration } from '../schema.ts'
import type { Log } from '../telemetry/log.ts'
import { LINGER_MS } from './answer.ts'
import { corsSchema } from './cors.ts'
import type { HttpOptions } from './http.ts'
import { serverTls, TlsFront } from './tls.ts'

/** For receivers that bind beyond loopback. */
export const insecureBind = z
  .boolean()
  .default(false)
  .describe('Allow an address that other machines reach, without TLS or auth.')

/** Keys of every receiver that serves HTTP, for a strict schema of its own. */
export const httpServer = {
  read_timeout: duration().prefault('30s').describe('Time for a request body to arrive.'),
  read_header_timeout: duration().prefault('10s').describe('Time for the request headers to arrive.'),
  idle_timeout: duration().prefault('60s').describe('How long an idle connection is kept.'),
  cors: corsSchema.optional().describe('Lets browsers send; absent: they may not.'),
  tls: serverTls.optional().describe('TLS and mTLS, HTTP/2 by ALPN; absent: plain HTTP/1.1.'),
}

type HttpServerConfig = z.output<z.ZodObject<typeof httpServer>>

/** `clientError` renders what is refused before there is a request. */
export function servingOptions(
  config: HttpServerConfig,
  log: Log,
  clientError: NonNullable<HttpOptions['clientError']>,
): HttpOptions {
  return {
    tls: config.tls && new TlsFront(config.tls, ['h2', 'http/1.1'], log),
    readTimeoutMs: config.read_timeout + config.read_header_timeout + LINGER_MS,
    readHeaderTimeoutMs: config.read_header_timeout,
    idleTimeoutMs: config.idle_timeout,
    clientError,
  }
}
