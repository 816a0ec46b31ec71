import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { reject } from '../../pipeline/fault.ts'
import { isLoopback } from '../../pipeline/net/loopback.ts'
import type { Secret } from '../../pipeline/secret.ts'

type Role = 'admin' | 'read' | 'ingest'

/** Who asks. */
export interface Principal {
  readonly role: Role
  readonly tenant?: string
}

export interface TokenConfig {
  readonly token: Secret
  readonly role: Role
  readonly tenant?: string | undefined
}

/** Anybody who can reach the loopback address, when no tokens are configured. */
const LOCAL: Principal = { role: 'admin' }

/** Tells who asks, or throws UNAUTHENTICATED. Tokens are compared by digest, in constant time, all of them. */
export function authenticator(tokens: readonly TokenConfig[]): (request: IncomingMessage) => Principal {
  const known = tokens.map((entry) => ({
    digest: digestOf(entry.token.reveal()),
    principal: principalOf(entry),
  }))
  return (request) => {
    if (known.length === 0) return LOCAL
    const [, presented = ''] = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? '') ?? []
    const digest = digestOf(presented)
    let found: Principal | undefined
    for (const entry of known) if (timingSafeEqual(entry.digest, digest)) found = entry.principal
    if (found === undefined) throw reject('UNAUTHENTICATED', 'this needs a valid bearer token (WEIR_TOKEN)')
    return found
  }
}

export function requireRole(principal: Principal, role: 'read' | 'admin'): void {
  if (principal.role === 'admin' || principal.role === role) return
  throw reject('PERMISSION_DENIED', `this needs the role ${role}; the token has ${principal.role}`)
}

/**
 * Refuses what a web page makes a browser send. Without tokens the address itself is the authority, so the Host must
 * be a loopback name (a rebound DNS name is not); and a page of another origin may never ask, token or not.
 */
export function refuseBrowsers(request: IncomingMessage, hasTokens: boolean): void {
  const host = hostname(request.headers.host ?? '')
  if (!hasTokens && !isLoopback(host)) {
    throw reject('PERMISSION_DENIED', 'the Host header does not name this machine')
  }
  const site = request.headers['sec-fetch-site']
  const origin = request.headers.origin
  const isForeign =
    (site !== undefined && site !== 'same-origin' && site !== 'none') ||
    (origin !== undefined && origin !== `http://${request.headers.host}`)
  if (isForeign) throw reject('PERMISSION_DENIED', 'pages of another origin may not use this API')
}

function hostname(host: string): string {
  return host
    .replace(/:\d+$/, '')
    .replace(/^\[|\]$/g, '')
    .toLowerCase()
}

function principalOf({ role, tenant }: TokenConfig): Principal {
  return tenant === undefined ? { role } : { role, tenant }
}

function digestOf(token: string): Buffer {
  return createHash('sha256').update(token).digest()
}
