import type { IncomingMessage, ServerResponse } from 'node:http'
import { reject } from '../fault.ts'
import { serveHttp } from '../net/http.ts'
import type { Listeners } from '../net/listeners.ts'
import { parseEndpoint } from '../net/endpoint.ts'
import { isLoopback } from '../net/loopback.ts'
import { PROMETHEUS_CONTENT_TYPE } from './prom-meter.ts'

export interface MetricsServer {
  /** As bound, `host:port`. */
  readonly address: string
  stop(deadline?: AbortSignal): Promise<void>
}

const STOP_MS = 2000

export interface MetricsServerOptions {
  /** Serve on an address that other machines can reach; the page has no authentication. Default false. */
  readonly insecureBind?: boolean
}

/** `GET /metrics` in Prometheus text format (`service.telemetry.metrics`). */
export async function serveMetrics(
  endpoint: string,
  listeners: Listeners,
  render: () => Promise<string>,
  options: MetricsServerOptions = {},
): Promise<MetricsServer> {
  if (options.insecureBind !== true && !isLoopback(parseEndpoint(endpoint).host)) {
    throw reject(
      'START_FAILED',
      `service.telemetry.metrics: ${endpoint} is reachable from other machines and the page has no authentication: use 127.0.0.1, or set insecure_bind: true`,
    )
  }
  const serving = await serveHttp(listeners, endpoint, (request, response) => {
    void answer(request, response, render)
  })
  return {
    address: serving.address,
    stop: (deadline = AbortSignal.timeout(STOP_MS)) => serving.stop(deadline),
  }
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  render: () => Promise<string>,
): Promise<void> {
  request.resume()
  const path = (request.url ?? '').split('?', 1)[0]
  if (path !== '/metrics') return end(response, 404, 'the metrics are at /metrics\n')
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.setHeader('allow', 'GET, HEAD')
    return end(response, 405, 'only GET\n')
  }
  try {
    const page = await render()
    response.setHeader('content-type', PROMETHEUS_CONTENT_TYPE)
    response.writeHead(200).end(request.method === 'HEAD' ? undefined : page)
  } catch {
    // What went wrong is the daemon's to log, not the scraper's to read.
    end(response, 500, 'the metrics could not be read\n')
  }
}

function end(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' }).end(text)
}
