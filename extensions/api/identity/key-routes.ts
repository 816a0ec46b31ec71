import { z } from 'zod'
import type { AuditDetails } from '../../../pipeline/audit/audit.ts'
import { reject } from '../../../pipeline/fault.ts'
import { isInForce, type Made, type NewKey } from '../../../pipeline/identity/keyring.ts'
import { partId, ROLES, tenantId, text, type Key } from '../../../pipeline/identity/records.ts'
import { readUsage } from '../../../pipeline/identity/usage.ts'
import { bodyOf, ok, type Call, type Noted, type Reply, type Route } from '../route.ts'
import { otherTenant, visible, type IdentityParts } from './parts.ts'
import { keyShape } from './shapes.ts'

const newKey = z.strictObject({
  kind: z.enum(['api', 'hmac', 'certificate']).default('api'),
  name: text.optional(),
  tenant: tenantId.optional(),
  project: partId.optional(),
  agent: partId.optional(),
  roles: z.array(z.enum(ROLES)).min(1).default(['ingest']),
  env: z.string().optional(),
  expires: z.iso.datetime({ offset: true }).optional(),
  /** Of a certificate: `DNS:a.example`, `URI:spiffe://…` as Node and OpenSSL print it. */
  san: z.string().max(1024).optional(),
  spki_sha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/i, 'must be 64 hex digits')
    .optional(),
})

const DAY_S = 86_400
const rotation = z.strictObject({
  overlap_seconds: z
    .number()
    .min(0)
    .max(90 * DAY_S)
    .default(DAY_S),
})

const base = { role: 'admin', scope: 'tenant' } as const

export function keyRoutes(parts: IdentityParts): readonly Route[] {
  const { keyring } = parts
  return [
    { ...base, method: 'GET', path: '/v1/keys', audit: false, handle: (call) => list(parts, call) },
    {
      ...base,
      method: 'POST',
      path: '/v1/keys',
      audit: { action: 'key.create' },
      handle: (call) => create(parts, call),
    },
    { ...base, method: 'GET', path: '/v1/keys/{key}', audit: false, handle: (call) => show(parts, call) },
    ...endOfLifeRoutes(parts),
    {
      method: 'POST',
      path: '/v1/secrets/reseal',
      role: 'admin',
      scope: 'daemon',
      audit: { action: 'secret.reseal' },
      async handle() {
        const resealed = (await keyring.reseal()) + (await parts.resealAudit())
        return ok({ resealed }, { details: { resealed } })
      },
    },
  ]
}

/** Replacing a key, and ending one. */
function endOfLifeRoutes(parts: IdentityParts): readonly Route[] {
  const { keyring, clock } = parts
  return [
    {
      ...base,
      method: 'POST',
      path: '/v1/keys/{key}/rotate',
      audit: { action: 'key.rotate' },
      async handle(call) {
        const { overlap_seconds: overlapS } = bodyOf(rotation, call.body)
        const { id } = await own(parts, call)
        return made(await keyring.rotate(id, overlapS * 1000), clock(), { rotated: id })
      },
    },
    {
      ...base,
      method: 'POST',
      path: '/v1/keys/{key}/revoke',
      audit: { action: 'key.revoke' },
      async handle(call) {
        const { id } = await own(parts, call)
        const key = await keyring.revoke(id)
        return ok({ key: keyShape(key, clock(), undefined) }, notedOf(key))
      },
    },
    {
      ...base,
      method: 'DELETE',
      path: '/v1/keys/{key}',
      audit: { action: 'key.remove' },
      async handle(call) {
        const { id } = await own(parts, call)
        const key = await keyring.remove(id)
        return ok({ key: keyShape(key, clock(), undefined) }, notedOf(key))
      },
    },
  ]
}

async function list({ identity, state, clock }: IdentityParts, { principal, query }: Call): Promise<Reply> {
  const tenant = query.get('tenant') ?? undefined
  if (tenant !== undefined && !visible(principal, tenant)) throw otherTenant()
  const used = await readUsage(state)
  const keys = [...identity.keys()]
    .filter((key) => visible(principal, key.tenant) && (tenant === undefined || key.tenant === tenant))
    .sort((a, b) => a.created_ms - b.created_ms || (a.id < b.id ? -1 : 1))
  return ok({ keys: keys.map((key) => keyShape(key, clock(), used.get(key.id))) })
}

async function show(parts: IdentityParts, call: Call): Promise<Reply> {
  const key = await own(parts, call)
  const used = await readUsage(parts.state)
  return ok({ key: keyShape(key, parts.clock(), used.get(key.id)) })
}

async function create({ keyring, identity, clock }: IdentityParts, call: Call): Promise<Reply> {
  const { expires, san, spki_sha256: spki, ...fields } = bodyOf(newKey, call.body)
  // An admin of one tenant need not say which.
  const tenant = fields.tenant ?? call.principal.tenant
  if (!visible(call.principal, tenant)) throw otherTenant()
  const binding = bindingOf(san, spki)
  if (fields.kind === 'certificate' && call.principal.tenant !== undefined) {
    throw reject('PERMISSION_DENIED', 'only an admin of the daemon says whose a certificate is')
  }
  const taken = binding === undefined ? undefined : identity.bound(binding)
  if (taken !== undefined && isInForce(taken, clock())) {
    throw reject('CONFLICT', `key ${taken.id} is for this certificate already: revoke it first`)
  }
  const wanted = {
    ...fields,
    ...(tenant !== undefined && { tenant }),
    ...(binding !== undefined && { binding }),
    ...(expires !== undefined && { expires_ms: Date.parse(expires) }),
  }
  return made(await keyring.create(wanted as NewKey), clock())
}

function bindingOf(san: string | undefined, spki: string | undefined): string | undefined {
  if (san !== undefined && spki !== undefined)
    throw reject('REQUEST_INVALID', 'give either san or spki_sha256')
  if (spki !== undefined) return `spki:${spki.toLowerCase()}`
  return san === undefined ? undefined : `san:${san}`
}

function notedOf(key: Key, more: AuditDetails = {}): Noted {
  const details = { kind: key.kind, roles: key.roles, ...more }
  return { object: key.id, ...(key.tenant !== undefined && { tenant: key.tenant }), details }
}

function made({ key, secret }: Made, nowMs: number, more: AuditDetails = {}): Reply {
  return {
    status: 201,
    audit: notedOf(key, more),
    body: { key: keyShape(key, nowMs, undefined), ...(secret !== undefined && { secret }) },
  }
}

/** The key that the path names; one of another tenant is as good as absent. */
async function own({ keyring }: IdentityParts, { params, principal }: Call): Promise<Key> {
  const id = params['key'] ?? ''
  const key = await keyring.read(id)
  if (!visible(principal, key.tenant)) throw reject('NOT_FOUND', `there is no key ${id}`)
  return key
}
