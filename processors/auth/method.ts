import type { Head } from '../../pipeline/admission.ts'
import type { Failure } from '../../pipeline/identity/verify.ts'
import type { MethodName } from './config.ts'

/** Why a request is not let in. The sender hears 401 or 403 and no more; this is for the counter and the debug log. */
export type Denial =
  | Failure
  | 'missing'
  | 'duplicate'
  | 'stale'
  | 'replayed'
  | 'algorithm'
  | 'issuer'
  | 'audience'
  | 'scope'
  | 'lifetime'
  | 'role'
  | 'tenant'
  | 'disagree'
  | 'body'

/** What a good credential says of its sender. */
export interface Proof {
  readonly tenant: string
  readonly project?: string | undefined
  readonly principal: string
  /** SHA-256 that the raw body must have. */
  readonly bodyDigest?: Uint8Array
  /** The HMAC secret that signed the request. */
  readonly keyId?: string
}

export interface Refused {
  readonly denial: Denial
  /** For the debug log: what can be said without helping anybody who reads it in. */
  readonly detail?: string
}

export interface Method {
  readonly name: MethodName
  /** Undefined: the request has no such credential. Throws a Fault (retry) when it cannot be judged now. */
  judge(head: Head, nowMs: number): Promise<Proof | Refused | undefined> | Proof | Refused | undefined
}

export function isProof(judged: Proof | Refused): judged is Proof {
  return 'tenant' in judged
}
