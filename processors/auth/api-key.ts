import type { Head } from '../../pipeline/admission.ts'
import type { KeyUsage } from '../../pipeline/identity/usage.ts'
import { judgeToken } from '../../pipeline/identity/verify.ts'
import type { IdentityView } from '../../pipeline/identity/view.ts'
import { bearer, HEADERS, looksLikeKey } from './credentials.ts'
import type { Method, Proof, Refused } from './method.ts'

/** `Authorization: Bearer weir_…` or `X-API-Key: weir_…`. */
export class ApiKeyMethod implements Method {
  readonly name = 'api_key'
  readonly #identity: IdentityView
  readonly #usage: KeyUsage

  constructor(identity: IdentityView, usage: KeyUsage) {
    this.#identity = identity
    this.#usage = usage
  }

  judge(head: Head, nowMs: number): Proof | Refused | undefined {
    const token = presented(head)
    if (token === undefined) return undefined
    if (typeof token !== 'string') return token
    const key = judgeToken(this.#identity, token, nowMs)
    if (typeof key === 'string') return { denial: key }
    if (key.tenant === undefined || !key.roles.includes('ingest')) {
      return { denial: 'role', detail: `key ${key.id}` }
    }
    this.#usage.note(key.id, nowMs)
    return { tenant: key.tenant, project: key.project, principal: `key:${key.id}` }
  }
}

function presented(head: Head): string | Refused | undefined {
  const token = bearer(head)
  const inBearer = token !== undefined && looksLikeKey(token) ? token : undefined
  const [inHeader] = head.header(HEADERS.apiKey)
  if (inBearer !== undefined && inHeader !== undefined && inBearer !== inHeader)
    return { denial: 'duplicate' }
  return inBearer ?? inHeader
}
