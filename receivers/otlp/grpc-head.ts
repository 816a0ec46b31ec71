import type { ServerHttp2Session } from 'node:http2'
import type { Head } from '../../pipeline/admission.ts'
import { clientCertificate } from '../../pipeline/net/tls.ts'

interface Connection {
  readonly peer: string
  readonly tls: boolean
  readonly certificate: Head['clientCertificate']
}

/** Looked up once per connection: node:http2's socket proxy is slow, and gone when the connection is. */
const connections = new WeakMap<ServerHttp2Session, Connection>()

function connectionOf(session: ServerHttp2Session): Connection {
  const known = connections.get(session)
  if (known !== undefined) return known
  const { remoteAddress = 'unknown', remotePort } = session.socket
  const tls = session.encrypted === true
  const connection = {
    peer: remotePort === undefined ? remoteAddress : `${remoteAddress}:${remotePort}`,
    tls,
    certificate: tls ? clientCertificate(session.socket) : undefined,
  }
  connections.set(session, connection)
  return connection
}

/** Facts of a gRPC call. */
export class GrpcHead implements Head {
  readonly transport = 'grpc'
  readonly method = 'POST'
  readonly path: string
  readonly tls: boolean
  readonly clientCertificate?: NonNullable<Head['clientCertificate']>
  readonly peer: string
  readonly #raw: readonly string[]

  /** `raw`: names and values in turn. */
  constructor(session: ServerHttp2Session, path: string, raw: readonly string[]) {
    const { peer, tls, certificate } = connectionOf(session)
    this.path = path
    this.peer = peer
    this.tls = tls
    if (certificate) this.clientCertificate = certificate
    this.#raw = raw
  }

  header(name: string): readonly string[] {
    const raw = this.#raw
    const values: string[] = []
    for (let at = 0; at < raw.length; at += 2) if (raw[at] === name) values.push(raw[at + 1] ?? '')
    return values
  }
}
