import { decodeJwt, errors, jwtVerify, type JWTPayload } from 'jose'
import { TENANT, type Head } from '../../pipeline/admission.ts'
import { faultOf, messageOf } from '../../pipeline/fault.ts'
import { partId } from '../../pipeline/identity/records.ts'
import type { IdentityView } from '../../pipeline/identity/view.ts'
import type { Log } from '../../pipeline/telemetry/log.ts'
import type { AuthConfig, Issuer } from './config.ts'
import { bearer, looksLikeKey } from './credentials.ts'
import { Jwks } from './jwks.ts'
import type { Denial, Method, Proof, Refused } from './method.ts'

const MAX_TOKEN = 8192
const MAX_SUBJECT = 256

interface Trusted {
  readonly config: Issuer
  readonly jwks: Jwks
}

/** `Authorization: Bearer <JWT>` of an issuer in the config. */
export class JwtMethod implements Method {
  readonly name = 'jwt'
  readonly #identity: IdentityView
  readonly #issuers: ReadonlyMap<string, Trusted>

  constructor({ issuers, cache_duration: cacheMs }: AuthConfig['jwt'], identity: IdentityView, log: Log) {
    this.#identity = identity
    this.#issuers = new Map(
      issuers.map((config) => [config.issuer, { config, jwks: new Jwks(config, cacheMs, log) }]),
    )
  }

  async judge(head: Head, nowMs: number): Promise<Proof | Refused | undefined> {
    const token = bearer(head)
    if (token === undefined || looksLikeKey(token)) return undefined
    const claimed = issuerOf(token)
    if (claimed === undefined) return { denial: 'malformed' }
    const trusted = this.#issuers.get(claimed)
    if (trusted === undefined) return { denial: 'issuer' }
    let payload: JWTPayload
    try {
      payload = await verified(token, trusted, nowMs)
    } catch (error) {
      if (faultOf(error) !== undefined) throw error
      if (error instanceof errors.JOSEError) return { denial: denialOf(error), detail: error.code }
      // A key of the issuer's that is too short or damaged: whoever names it has proved nothing.
      return { denial: 'wrong', detail: messageOf(error) }
    }
    return this.#proofOf(payload, trusted.config, nowMs)
  }

  #proofOf(payload: JWTPayload, config: Issuer, nowMs: number): Proof | Refused {
    const endMs = (payload.exp ?? Infinity) * 1000
    const fromMs = typeof payload.iat === 'number' ? Math.min(nowMs, payload.iat * 1000) : nowMs
    if (endMs > fromMs + config.max_lifetime + config.clock_skew) return { denial: 'lifetime' }
    if (!hasScope(payload, config.required_scope)) return { denial: 'scope' }
    const tenant = config.tenant ?? textOf(payload, config.tenant_claim)
    if (tenant === undefined || !TENANT.test(tenant)) return { denial: 'tenant' }
    const record = this.#identity.tenant(tenant)
    // An identity provider must not be able to make tenants up.
    if (record === undefined) return { denial: 'tenant' }
    if (record.status !== 'active') return { denial: 'disabled' }
    const project = textOf(payload, config.project_claim) ?? config.project
    if (project !== undefined && !this.#hasProject(tenant, project))
      return { denial: 'tenant', detail: 'project' }
    const subject = (textOf(payload, 'sub') ?? '').slice(0, MAX_SUBJECT)
    return { tenant, project, principal: `jwt:${subject}` }
  }

  #hasProject(tenant: string, project: string): boolean {
    return partId.safeParse(project).success && this.#identity.project(tenant, project)?.status === 'active'
  }
}

/** Whose keys to try: not believed before the signature is checked. */
function issuerOf(token: string): string | undefined {
  if (token.length > MAX_TOKEN) return undefined
  try {
    return decodeJwt(token).iss
  } catch {
    return undefined
  }
}

async function verified(token: string, { config, jwks }: Trusted, nowMs: number): Promise<JWTPayload> {
  const options = {
    algorithms: [...config.algorithms],
    issuer: config.issuer,
    audience: config.audience,
    clockTolerance: config.clock_skew / 1000,
    currentDate: new Date(nowMs),
    requiredClaims: ['exp'],
  }
  const keys = await jwks.keys()
  try {
    return (await jwtVerify(token, keys, options)).payload
  } catch (error) {
    if (!(error instanceof errors.JWKSNoMatchingKey) || !(await jwks.renew(keys))) throw error
    return (await jwtVerify(token, await jwks.keys(), options)).payload
  }
}

function denialOf(error: errors.JOSEError): Denial {
  if (error instanceof errors.JWTExpired) return 'expired'
  if (error instanceof errors.JOSEAlgNotAllowed) return 'algorithm'
  if (error instanceof errors.JWTClaimValidationFailed) {
    if (error.claim === 'aud') return 'audience'
    if (error.claim === 'iss') return 'issuer'
    return error.claim === 'nbf' ? 'stale' : 'malformed'
  }
  const isWrong =
    error instanceof errors.JWSSignatureVerificationFailed ||
    error instanceof errors.JWKSNoMatchingKey ||
    error instanceof errors.JWKSMultipleMatchingKeys
  return isWrong ? 'wrong' : 'malformed'
}

function hasScope(payload: JWTPayload, wanted: string | undefined): boolean {
  if (wanted === undefined) return true
  const given = payload['scope'] ?? payload['scp']
  if (Array.isArray(given)) return given.includes(wanted)
  return typeof given === 'string' && given.split(' ').includes(wanted)
}

/** An own claim that is text; a claim named like a method of Object is nothing. */
function textOf(payload: JWTPayload, claim: string | undefined): string | undefined {
  if (claim === undefined || !Object.hasOwn(payload, claim)) return undefined
  const value = payload[claim]
  return typeof value === 'string' ? value : undefined
}
