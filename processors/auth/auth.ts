import { timingSafeEqual } from 'node:crypto'
import type { Admission, Head } from '../../pipeline/admission.ts'
import type { Processor } from '../../pipeline/component.ts'
import type { Context } from '../../pipeline/factory.ts'
import { faultOf, messageOf, reject, retry, type Fault } from '../../pipeline/fault.ts'
import { KeyUsage } from '../../pipeline/identity/usage.ts'
import type { Counter } from '../../pipeline/telemetry/meter.ts'
import { ApiKeyMethod } from './api-key.ts'
import type { AuthConfig, MethodName } from './config.ts'
import { duplicated } from './credentials.ts'
import { HmacMethod } from './hmac.ts'
import { isProof, type Denial, type Method, type Proof, type Refused } from './method.ts'
import { MtlsMethod } from './mtls.ts'
import { Nonces } from './nonces.ts'

type Needed = Pick<Context, 'id' | 'identity' | 'state' | 'vault' | 'clock' | 'log' | 'meter' | 'audit'>

const UNAVAILABLE_MS = 10_000
/** Whoever knows the id of such a secret must not fill the log. */
const TELL_EVERY_MS = 10_000

interface SignedEvent {
  readonly tenant: string
  readonly canonical: Uint8Array
  readonly signature: string
}

interface Judged {
  readonly name: MethodName
  readonly judged: Proof | Refused
}

/** Finds out who sends, before anything of the body is read. Batches pass untouched. */
export class AuthProcessor implements Processor {
  readonly #config: AuthConfig
  readonly #context: Needed
  readonly #nonces: Nonces
  readonly #hmac: HmacMethod | undefined
  readonly #make: Readonly<Record<MethodName, () => Promise<Method>>>
  /** From `start` on. */
  #methods: readonly Method[] = []
  readonly #decisions: Counter
  #toldMs = -Infinity

  constructor(config: AuthConfig, context: Needed) {
    const { identity, state, vault, clock, log } = context
    const usage = new KeyUsage(state, log)
    const nonces = new Nonces(state, log, clock)
    const hmac = new HmacMethod({ identity, vault, usage, nonces, maxAgeMs: config.hmac.max_age })
    this.#make = {
      api_key: async () => new ApiKeyMethod(identity, usage),
      hmac: async () => hmac,
      // A library for tokens is loaded only where tokens are taken.
      jwt: async () => new (await import('./jwt.ts')).JwtMethod(config.jwt, identity, log),
      mtls: async () => new MtlsMethod(identity, usage),
    }
    this.#config = config
    this.#context = context
    this.#nonces = nonces
    this.#hmac = config.methods.includes('hmac') ? hmac : undefined
    this.#decisions = context.meter.counter('weir_auth')
  }

  async start(): Promise<void> {
    const { log, vault } = this.#context
    const { methods, jwt } = this.#config
    this.#methods = await Promise.all([...new Set(methods)].map((name) => this.#make[name]()))
    if (methods.includes('jwt') && jwt.issuers.length === 0) {
      log.warn('auth: jwt has no issuers, so every token is refused: add them under jwt.issuers')
    }
    if (this.#hmac === undefined) return
    if (vault === undefined) {
      log.warn('auth: there can be no HMAC secrets without the master_key of the state extension')
    }
    this.#nonces.start()
  }

  async stop(): Promise<void> {
    this.#nonces.stop()
  }

  process(): void {}

  async admit(head: Head): Promise<Admission> {
    // weir reads these itself, as its operator configured.
    if (head.transport === 'file') return {}
    await this.#context.identity.ensureFresh()
    const twice = duplicated(head)
    if (twice !== undefined) throw this.#refuse('none', { denial: 'duplicate', detail: twice }, head)
    const found = await this.#judgeAll(head)
    const [first] = found
    if (first === undefined) throw this.#refuse('none', { denial: 'missing' }, head)
    const proofs: Proof[] = []
    for (const { name, judged } of found) {
      if (!isProof(judged)) throw this.#refuse(name, judged, head)
      proofs.push(judged)
    }
    this.#checkAgreement(found, proofs, head)
    for (const { name } of found) this.#decisions.add(1, { method: name, outcome: 'accepted' })
    return this.#admission(proofs)
  }

  /** Every credential that the request has. `hmac` comes last: it uses its nonce up. */
  async #judgeAll(head: Head): Promise<Judged[]> {
    const nowMs = this.#context.clock()
    const found: Judged[] = []
    const ordered = this.#methods.toSorted((a, b) => Number(a === this.#hmac) - Number(b === this.#hmac))
    for (const method of ordered) {
      const judged = await this.#judge(method, head, nowMs)
      if (judged === undefined) continue
      found.push({ name: method.name, judged })
      if (!isProof(judged)) return found
    }
    return found
  }

  async #judge(method: Method, head: Head, nowMs: number): Promise<Proof | Refused | undefined> {
    try {
      return await method.judge(head, nowMs)
    } catch (error) {
      throw this.#unavailable(method.name, error)
    }
  }

  #unavailable(method: MethodName | 'event', error: unknown): unknown {
    this.#decisions.add(1, { method, outcome: 'unavailable' })
    if (faultOf(error)?.code !== 'SECRET_UNREADABLE') return error
    // The operator's to mend; the sender's secret may be perfectly good, so it should try again.
    const nowMs = performance.now()
    if (nowMs - this.#toldMs >= TELL_EVERY_MS) {
      this.#toldMs = nowMs
      this.#context.log.error({ error: messageOf(error) }, 'auth: a secret cannot be opened')
    }
    return retry('AUTH_UNAVAILABLE', 'credentials cannot be checked now', UNAVAILABLE_MS, { cause: error })
  }

  #checkAgreement(found: readonly Judged[], proofs: readonly Proof[], head: Head): void {
    if (this.#config.require === 'all') {
      const absent = this.#methods.find((method) => !found.some(({ name }) => name === method.name))
      if (absent !== undefined) throw this.#refuse(absent.name, { denial: 'missing' }, head)
    }
    const [first] = proofs
    const agree = proofs.every(({ tenant }) => tenant === first?.tenant)
    const projects = new Set(proofs.map(({ project }) => project).filter((project) => project !== undefined))
    if (agree && projects.size <= 1) return
    throw this.#refuse(found[0]?.name ?? 'none', { denial: 'disagree' }, head)
  }

  #admission(proofs: readonly Proof[]): Admission {
    const { tenant = '', principal = '' } = proofs[0] ?? {}
    const project = proofs.find((proof) => proof.project !== undefined)?.project ?? ''
    const digest = proofs.find(({ bodyDigest }) => bodyDigest !== undefined)?.bodyDigest
    const hmac = this.#hmac
    return {
      tenant,
      project,
      principal,
      ...(digest && { verify: (sha256) => this.#verifyBody(digest, sha256) }),
      ...(hmac && {
        verifyEvent: (canonical, signature) => this.#verifyEvent(hmac, { tenant, canonical, signature }),
      }),
    }
  }

  #verifyBody(signed: Uint8Array, sha256: Uint8Array): void {
    if (timingSafeEqual(signed, sha256)) return
    this.#decisions.add(1, { method: 'hmac', outcome: 'body' })
    throw unauthenticated()
  }

  #verifyEvent(hmac: HmacMethod, event: SignedEvent): void {
    const isGood = this.#hasSigned(hmac, event)
    this.#decisions.add(1, { method: 'event', outcome: isGood ? 'accepted' : 'wrong' })
    if (!isGood) throw unauthenticated()
  }

  #hasSigned(hmac: HmacMethod, { tenant, canonical, signature }: SignedEvent): boolean {
    try {
      return hmac.hasSigned(tenant, canonical, signature, this.#context.clock())
    } catch (error) {
      throw this.#unavailable('event', error)
    }
  }

  /** Counted and logged with the reason; said without. */
  #refuse(method: MethodName | 'none', { denial, detail }: Refused, head: Head): Fault {
    this.#decisions.add(1, { method, outcome: denial })
    this.#context.log.debug({ method, reason: denial, detail, peer: head.peer }, 'a sender was refused')
    const fault = FORBIDDEN.includes(denial) ? forbidden() : unauthenticated()
    this.#context.audit?.refused({
      actor: { id: 'nobody', kind: 'sender' },
      action: 'access.denied',
      object: this.#context.id,
      outcome: 'denied',
      address: addressOf(head.peer),
      details: { code: fault.code, method, reason: denial },
    })
    return fault
  }
}

/** Who it is was proved; what it may do was not enough. */
const FORBIDDEN: readonly Denial[] = ['role', 'tenant', 'disabled', 'disagree', 'scope']

function unauthenticated(): Fault {
  return reject('UNAUTHENTICATED', 'valid credentials are needed')
}

function forbidden(): Fault {
  return reject('PERMISSION_DENIED', 'the credentials do not allow this')
}

/** `ip:port`, an IPv6 address in brackets or an IPv4 one written as such. */
function addressOf(peer: string): string {
  return peer
    .replace(/:\d+$/, '')
    .replace(/^\[|\]$/g, '')
    .replace(/^::ffff:(?=\d)/, '')
}
