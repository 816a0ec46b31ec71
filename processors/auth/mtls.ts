import { createHash, X509Certificate } from 'node:crypto'
import type { Head } from '../../pipeline/admission.ts'
import type { KeyUsage } from '../../pipeline/identity/usage.ts'
import { failureOf } from '../../pipeline/identity/verify.ts'
import type { IdentityView } from '../../pipeline/identity/view.ts'
import type { Key } from '../../pipeline/identity/records.ts'
import type { Method, Proof, Refused } from './method.ts'

type Certificate = NonNullable<Head['clientCertificate']>

interface Facts {
  readonly spki: string
  readonly fromMs: number
  readonly toMs: number
}

/**
 * The client certificate of the connection: TLS has checked who signed it; here it is found by its public key, else by
 * one of its names. A certificate that nobody has bound proves nothing and hurts nothing: a mesh gives one to everybody.
 */
export class MtlsMethod implements Method {
  readonly name = 'mtls'
  readonly #identity: IdentityView
  readonly #usage: KeyUsage
  /** By certificate, which is one object per connection. */
  readonly #facts = new WeakMap<Certificate, Facts>()

  constructor(identity: IdentityView, usage: KeyUsage) {
    this.#identity = identity
    this.#usage = usage
  }

  judge(head: Head, nowMs: number): Proof | Refused | undefined {
    const certificate = head.clientCertificate
    if (certificate === undefined) return undefined
    const facts = this.#factsOf(certificate)
    const keys = this.#keysOf(certificate, facts)
    const [key] = keys
    if (key === undefined) return undefined
    const detail = `key ${key.id}`
    if (new Set(keys.map(({ tenant }) => tenant)).size > 1) return { denial: 'disagree', detail }
    const failure = failureOf(this.#identity, key, nowMs)
    if (failure !== undefined) return { denial: failure, detail }
    // A connection may outlive the certificate that opened it.
    if (nowMs < facts.fromMs || nowMs >= facts.toMs) return { denial: 'expired', detail }
    if (key.tenant === undefined || !key.roles.includes('ingest')) return { denial: 'role', detail }
    this.#usage.note(key.id, nowMs)
    return { tenant: key.tenant, project: key.project, principal: `key:${key.id}` }
  }

  /** Most exact first. */
  #keysOf({ subjectAltNames }: Certificate, { spki }: Facts): Key[] {
    const bindings = [`spki:${spki}`, ...subjectAltNames.map((name) => `san:${name}`)]
    return bindings.map((binding) => this.#identity.bound(binding)).filter((key) => key !== undefined)
  }

  #factsOf(certificate: Certificate): Facts {
    const known = this.#facts.get(certificate)
    if (known !== undefined) return known
    const parsed = new X509Certificate(certificate.raw)
    const spki = parsed.publicKey.export({ type: 'spki', format: 'der' })
    const facts = {
      spki: createHash('sha256').update(spki).digest('hex'),
      fromMs: Date.parse(parsed.validFrom),
      toMs: Date.parse(parsed.validTo),
    }
    this.#facts.set(certificate, facts)
    return facts
  }
}
