import { timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { AuditActor } from '../../pipeline/audit/audit.ts'
import { reject } from '../../pipeline/fault.ts'
import type { Role } from '../../pipeline/identity/records.ts'
import { tokenDigest, tokenId } from '../../pipeline/identity/token.ts'
import type { KeyUsage } from '../../pipeline/identity/usage.ts'
import { judgeToken } from '../../pipeline/identity/verify.ts'
import type { IdentityView } from '../../pipeline/identity/view.ts'
import { isLoopback } from '../../pipeline/net/loopback.ts'
import type { Secret } from '../../pipeline/secret.ts'
import type { Route } from './route.ts'

/** Who asks. */
export interface Principal {
  /** As the audit log names it. */
  readonly actor: AuditActor
  readonly role: Role
  /** Absent: over all tenants. */
  readonly tenant?: string
}

export interface TokenConfig {
  readonly token: Secret
  readonly role: Role
  readonly tenant?: string | undefined
}

/** Anybody who can reach the loopback address, while nobody else is known. */
export const LOCAL: Principal = { actor: { id: 'local', kind: 'local' }, role: 'admin' }

export interface Known {
  readonly identity: IdentityView
  readonly usage: KeyUsage
  readonly clock: () => number
  /** False for an address that other machines reach: there nobody is trusted without a token. */
  readonly loopback: boolean
}

/** Tells who asks: by the tokens of the config, and by API keys. */
export class Authenticator {
  readonly #tokens: readonly { readonly digest: Buffer; readonly principal: Principal }[]
  readonly #known: Known

  constructor(tokens: readonly TokenConfig[], known: Known) {
    this.#tokens = tokens.map((entry, at) => ({
      digest: tokenDigest(entry.token.reveal()),
      principal: principalOf(entry, at),
    }))
    this.#known = known
  }

  /**
   * False: everybody on this machine is admin. That ends with the first key of an admin over all tenants, and does not
   * come back when it expires, is revoked, or cannot be read.
   */
  get asksForTokens(): boolean {
    const { identity, loopback } = this.#known
    if (this.#tokens.length > 0 || !loopback) return true
    for (const key of identity.keys()) if (key.tenant === undefined) return true
    return !identity.isWhole()
  }

  /** Who a request says it is by the public part of its key; nothing of it is proved. */
  claimed(request: IncomingMessage): AuditActor {
    const id = tokenId(presentedIn(request))
    return { id: id ?? 'nobody', kind: 'sender' }
  }

  /** Throws UNAUTHENTICATED. Tokens are compared by digest, in constant time, all of them. */
  async authenticate(request: IncomingMessage): Promise<Principal> {
    if (!this.asksForTokens) return LOCAL
    const presented = presentedIn(request)
    const found = this.#byToken(presented) ?? (await this.#byKey(presented))
    if (found === undefined) throw reject('UNAUTHENTICATED', 'this needs a valid bearer token (WEIR_TOKEN)')
    return found
  }

  #byToken(presented: string): Principal | undefined {
    const digest = tokenDigest(presented)
    let found: Principal | undefined
    for (const entry of this.#tokens) if (timingSafeEqual(entry.digest, digest)) found = entry.principal
    return found
  }

  async #byKey(presented: string): Promise<Principal | undefined> {
    const { identity, usage, clock } = this.#known
    if (tokenId(presented) === undefined) return undefined
    await identity.ensureFresh()
    const key = judgeToken(identity, presented, clock())
    if (typeof key === 'string') return undefined
    usage.note(key.id, clock())
    const role = (['admin', 'read', 'ingest'] as const).find((each) => key.roles.includes(each)) ?? 'ingest'
    const actor = { id: key.id, kind: 'key' } as const
    return key.tenant === undefined ? { actor, role } : { actor, role, tenant: key.tenant }
  }
}

export function requireRole(principal: Principal, { role, scope }: Pick<Route, 'role' | 'scope'>): void {
  if (principal.role !== 'admin' && principal.role !== role) {
    throw reject('PERMISSION_DENIED', `this needs the role ${role}; the token has ${principal.role}`)
  }
  if (scope === 'tenant' || principal.tenant === undefined) return
  throw reject(
    'PERMISSION_DENIED',
    `this needs an admin of the daemon; the token is for tenant ${principal.tenant}`,
  )
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

function presentedIn(request: IncomingMessage): string {
  return /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? '')?.[1] ?? ''
}

/** `at`: its place in the config. */
function principalOf({ role, tenant }: TokenConfig, at: number): Principal {
  const actor = { id: `token/${at + 1}`, kind: 'token' } as const
  return tenant === undefined ? { actor, role } : { actor, role, tenant }
}
