import type { Server } from '@grpc/grpc-js'
import type { RefusalReason } from '../../pipeline/net/refusal.ts'
import type { Http2Server, IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2'

/**
 * What grpc-js keeps private and we need: its HTTP/2 servers, and what its idle timer hears of streams.
 * `otlp-grpc.test.ts` fails when an upgrade moves them.
 */
interface ServerInternals {
  readonly http2Servers: ReadonlyMap<Http2Server, unknown>
  onStreamOpened(stream: ServerHttp2Stream): void
}

/** A stream as it begins; `raw`: header names and values in turn, also those that node:http2 drops from `headers`. */
export type TakeStream = (
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  raw: readonly string[],
) => void

/**
 * Gives the streams of one method to `take`. grpc-js keeps the connections (settings, keepalive, age, idleness, GOAWAY)
 * and all other streams. Its own machinery for a unary call, a base call, an interceptor, metadata and their listeners
 * over the same node:http2 stream, took more CPU than everything else together that weir does for a small request.
 * `refused` hears of the others, none of which is taken.
 */
export function takeStreams(
  server: Server,
  path: string,
  take: TakeStream,
  refused: (reason: RefusalReason) => void,
): void {
  const internals = server as unknown as ServerInternals
  for (const http2 of internals.http2Servers.keys()) {
    const others = http2.listeners('stream')
    http2.removeAllListeners('stream')
    http2.on('stream', (stream, headers, flags, raw?: readonly string[]) => {
      if (headers[':path'] !== path || !isGrpc(headers)) {
        refused(isGrpc(headers) ? 'not_found' : 'content_type')
        for (const other of others) Reflect.apply(other, http2, [stream, headers, flags])
        return
      }
      internals.onStreamOpened(stream)
      // Reset by its sender within the same read: it has closed, or will without an event that could be missed.
      if (!stream.destroyed && !stream.closed) take(stream, headers, raw ?? [])
    })
  }
}

/** gRPC over HTTP/2, "Requests": anything else is answered with 415. */
function isGrpc(headers: IncomingHttpHeaders): boolean {
  return headers['content-type']?.startsWith('application/grpc') === true
}
