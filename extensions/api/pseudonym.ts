import { z } from 'zod'
import { TENANT } from '../../pipeline/admission.ts'
import { reject } from '../../pipeline/fault.ts'
import { type Pseudonyms, TYPES, wordOf } from '../../pipeline/privacy/pseudonyms.ts'
import { bodyOf, ok, type Route } from './route.ts'

const body = z.strictObject({
  value: z.string().min(1).max(65_536),
  type: z
    .string()
    .regex(/^[a-z][a-z0-9_]{0,40}$/)
    .optional(),
  tenant: z.string().regex(TENANT).optional(),
})

/** `POST /v1/pseudonym`: which pseudonym a value has, for every type that it could have been found as. */
export function pseudonymRoute(pseudonyms: Pseudonyms | undefined): Route {
  return {
    method: 'POST',
    path: '/v1/pseudonym',
    role: 'admin',
    scope: 'tenant',
    audit: { action: 'pseudonym.look_up', reads: true },
    async handle(call) {
      const { value, type, tenant = call.principal.tenant ?? 'default' } = bodyOf(body, call.body)
      if (call.principal.tenant !== undefined && call.principal.tenant !== tenant) {
        throw reject('PERMISSION_DENIED', 'the token is for another tenant')
      }
      if (pseudonyms === undefined) throw reject('NOT_FOUND', 'no sanitizer runs in this daemon')
      const types =
        type === undefined ? [...TYPES.filter((each) => wordOf(each) !== ''), 'sensitive_key'] : [type]
      const named = types.map((each) => ({ type: each, pseudonym: pseudonyms.of(tenant, each, value) }))
      const distinct = named.filter(
        (each, at) => named.findIndex((other) => other.pseudonym === each.pseudonym) === at,
      )
      return ok({ tenant, pseudonyms: distinct }, { object: type ?? 'any type', tenant })
    },
  }
}
