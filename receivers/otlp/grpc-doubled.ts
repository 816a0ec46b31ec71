import type { Server } from '@grpc/grpc-js'
import type { Http2Server, ServerHttp2Stream } from 'node:http2'

/**
 * node:http2 keeps the first of a repeated `authorization` and drops the others unsaid, before grpc-js sees them. Whoever
 * judges credentials must know, so the raw headers are looked at when the stream begins.
 */
const SINGLE = ['authorization']

const doubled = new WeakMap<ServerHttp2Stream, ReadonlyMap<string, readonly string[]>>()

/** `otlp-edge.test.ts` fails when an upgrade of grpc-js moves its servers. */
export function hearDoubledHeaders(server: Server): void {
  const { http2Servers } = server as unknown as { readonly http2Servers: ReadonlyMap<Http2Server, unknown> }
  for (const http2 of http2Servers.keys()) http2.prependListener('stream', note)
}

/** By name, all values of what stands there more than once; undefined: nothing does. */
export function doubledHeaders(
  stream: ServerHttp2Stream,
): ReadonlyMap<string, readonly string[]> | undefined {
  return doubled.get(stream)
}

/** `raw`: names and values in turn, as `stream` gives them in its fourth argument. */
function note(stream: ServerHttp2Stream, _headers: unknown, _flags: unknown, raw?: readonly string[]): void {
  for (const name of SINGLE) {
    const values = raw?.filter((_, at) => at % 2 === 1 && raw[at - 1] === name) ?? []
    if (values.length > 1) doubled.set(stream, new Map([[name, values]]))
  }
}
