import type { IncomingMessage } from 'node:http'
import { TLSSocket } from 'node:tls'
import type { Head } from '../admission.ts'
import { formatEndpoint } from './endpoint.ts'
import { clientCertificate } from './tls.ts'

/** The facts of a request that admission judges. */
export function headOf(request: IncomingMessage): Head {
  const tls = request.socket instanceof TLSSocket
  const certificate = tls ? clientCertificate(request.socket) : undefined
  const declared = request.headers['content-length']
  return {
    transport: 'http',
    peer: peerOf(request),
    method: request.method ?? '',
    path: request.url ?? '',
    header: (name) => headerValues(request.rawHeaders, name),
    tls,
    ...(certificate && { clientCertificate: certificate }),
    ...(declared !== undefined && { declaredBytes: Number(declared) }),
  }
}

/** All values of a header; HTTP/2's compatibility API has no `headersDistinct`. */
function headerValues(raw: readonly string[], name: string): readonly string[] {
  return raw.filter((_, at) => at % 2 === 1 && raw[at - 1]?.toLowerCase() === name)
}

export function peerOf(request: IncomingMessage): string {
  return formatEndpoint(request.socket.remoteAddress ?? '', request.socket.remotePort ?? 0)
}
