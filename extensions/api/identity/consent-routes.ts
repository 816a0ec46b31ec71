import { z } from 'zod'
import { consentStatus } from '../../../pipeline/consent/in-force.ts'
import { CONSENT_TYPES, consentRuns, granter, type Consent } from '../../../pipeline/consent/record.ts'
import { forgetConsented } from '../../../pipeline/run-replay/cache.ts'
import { text } from '../../../pipeline/identity/records.ts'
import { bodyOf, ok, type Call, type Route } from '../route.ts'
import { tenantOf, type IdentityParts } from './parts.ts'
import { consentShape } from './shapes.ts'

const newConsent = z.strictObject({
  type: z.enum(CONSENT_TYPES),
  runs: consentRuns.optional(),
  granted_by: granter,
  note: text.optional(),
  expires: z.iso.datetime({ offset: true }).optional(),
})
const revocation = z.strictObject({ revoked_by: granter })

const base = { role: 'admin', scope: 'tenant' } as const
const PATH = '/v1/tenants/{tenant}/consents'

/** What people have agreed to, and took back. */
export function consentRoutes(parts: IdentityParts): readonly Route[] {
  return [...readingRoutes(parts), ...changingRoutes(parts)]
}

function readingRoutes({ consents, clock }: IdentityParts): readonly Route[] {
  return [
    {
      ...base,
      method: 'GET',
      path: PATH,
      audit: { action: 'consent.list' },
      async handle(call) {
        const found = await consents.list(tenantOf(call))
        return ok({
          consents: found.filter(filterOf(call, clock())).map((each) => consentShape(each, clock())),
        })
      },
    },
    {
      ...base,
      method: 'GET',
      path: `${PATH}/{consent}`,
      audit: { action: 'consent.read' },
      handle: async (call) =>
        ok({ consent: consentShape(await consents.read(tenantOf(call), idOf(call)), clock()) }),
    },
  ]
}

function changingRoutes({ state, consents, clock }: IdentityParts): readonly Route[] {
  return [
    {
      ...base,
      method: 'POST',
      path: PATH,
      audit: { action: 'consent.grant' },
      async handle(call) {
        const { expires, note, runs, ...fields } = bodyOf(newConsent, call.body)
        const made = await consents.grant(tenantOf(call), {
          ...fields,
          ...(note !== undefined && { note }),
          ...(runs !== undefined && { runs }),
          ...(expires !== undefined && { expires_ms: Date.parse(expires) }),
        })
        return {
          status: 201,
          body: { consent: consentShape(made, clock()) },
          audit: { object: made.id, legalBasis: 'consent', details: { type: made.type } },
        }
      },
    },
    {
      ...base,
      method: 'POST',
      path: `${PATH}/{consent}/revoke`,
      audit: { action: 'consent.revoke' },
      async handle(call) {
        const { revoked_by: by } = bodyOf(revocation, call.body)
        const tenant = tenantOf(call)
        const revoked = await consents.revoke(tenant, idOf(call), by)
        await forgetConsented(state, revoked, await consents.list(tenant), clock())
        return ok({ consent: consentShape(revoked, clock()) })
      },
    },
  ]
}

function idOf({ params }: Call): string {
  return params['consent'] ?? ''
}

function filterOf({ query }: Call, nowMs: number): (consent: Consent) => boolean {
  const [type, status] = [query.get('type'), query.get('status')]
  return (each) =>
    (type === null || each.type === type) && (status === null || consentStatus(each, nowMs) === status)
}
