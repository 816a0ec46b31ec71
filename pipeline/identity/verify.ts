import { timingSafeEqual } from 'node:crypto'
import type { Key } from './records.ts'
import { tokenDigest, tokenId } from './token.ts'
import type { IdentityView } from './view.ts'

/** Why a proof is no good: for counters and debug logs, never for the one who sent it. */
export type Failure = 'malformed' | 'unknown' | 'wrong' | 'revoked' | 'expired' | 'disabled'

/** The record of an API key that is in force, and whose tenant, project and agent are. */
export function judgeToken(view: IdentityView, token: string, nowMs: number): Key | Failure {
  const id = tokenId(token)
  if (id === undefined) return 'malformed'
  const key = view.key(id)
  if (key === undefined || key.kind !== 'api') return 'unknown'
  if (!timingSafeEqual(tokenDigest(token), Buffer.from(key.sha256, 'hex'))) return 'wrong'
  return failureOf(view, key, nowMs) ?? key
}

/** Undefined: the key is in force, and what it belongs to is there and active. */
export function failureOf(view: IdentityView, key: Key, nowMs: number): Failure | undefined {
  if (key.revoked_ms !== undefined) return 'revoked'
  if (key.expires_ms !== undefined && nowMs >= key.expires_ms) return 'expired'
  const { tenant, project, agent } = key
  if (tenant === undefined) return undefined
  const owners = [
    view.tenant(tenant),
    ...(project === undefined ? [] : [view.project(tenant, project)]),
    ...(agent === undefined ? [] : [view.agent(tenant, agent)]),
  ]
  return owners.every((owner) => owner?.status === 'active') ? undefined : 'disabled'
}
