import { z } from 'zod'
import { TENANT } from '../../pipeline/admission.ts'
import { partId } from '../../pipeline/identity/records.ts'
import { isLoopback } from '../../pipeline/net/loopback.ts'
import { duration } from '../../pipeline/schema.ts'

export const METHODS = ['api_key', 'hmac', 'jwt', 'mtls'] as const

/** No HS*: a public key must never serve as a shared secret. */
const ALGORITHMS = [
  'EdDSA',
  'ES256',
  'ES384',
  'ES512',
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
] as const

const audience = z.union([z.string().min(1), z.array(z.string().min(1)).min(1)])

const issuer = z
  .strictObject({
    issuer: z.string().min(1).describe('What `iss` must be, exactly.'),
    audience: audience.describe('What `aud` must be, or one of these.'),
    jwks_url: z
      .string()
      .refine(isTrustedUrl, 'must be an https URL, or http on loopback')
      .optional()
      .describe('Where its public keys are; no other host is ever asked, and no redirect followed.'),
    jwks_file: z.string().min(1).optional().describe('A file with its public keys (JWKS) instead.'),
    algorithms: z
      .array(z.enum(ALGORITHMS))
      .min(1)
      .default(['EdDSA', 'ES256', 'RS256'])
      .describe('The signatures that are taken; what the token itself says does not matter.'),
    tenant: z
      .string()
      .regex(TENANT, 'must match ^[a-z0-9][a-z0-9_-]{0,62}$')
      .optional()
      .describe('Whose data its tokens send. Either this or `tenant_claim`.'),
    tenant_claim: z.string().min(1).optional().describe('The claim that names the tenant, which must exist.'),
    project: partId.optional().describe('The project of that data.'),
    project_claim: z
      .string()
      .min(1)
      .optional()
      .describe('The claim that names the project, where it is there.'),
    required_scope: z
      .string()
      .regex(/^[\x21\x23-\x5b\x5d-\x7e]+$/)
      .optional()
      .describe('A word that `scope` (or `scp`) must hold.'),
    max_lifetime: duration()
      .prefault('1h')
      .describe('A token that is good for longer is refused: from `iat`, where it says that, to `exp`.'),
    clock_skew: duration().prefault('60s').describe('How far the clocks may be apart.'),
  })
  .refine((value) => (value.jwks_url === undefined) !== (value.jwks_file === undefined), {
    path: ['jwks_url'],
    message: 'exactly one of jwks_url and jwks_file must be set',
  })
  .refine((value) => (value.tenant === undefined) !== (value.tenant_claim === undefined), {
    path: ['tenant'],
    message: 'exactly one of tenant and tenant_claim must be set',
  })

export const config = z.strictObject({
  methods: z
    .array(z.enum(METHODS))
    .min(1)
    .default(['api_key'])
    .describe(
      'How senders may prove who they are: `api_key`, `hmac` (signed requests), `jwt` (bearer tokens of an identity provider), `mtls` (client certificates).',
    ),
  require: z
    .enum(['any', 'all'])
    .default('any')
    .describe(
      '`any`: one of the methods suffices. `all`: each is needed, for one and the same tenant. In either case every credential that is sent must be good.',
    ),
  hmac: z
    .strictObject({
      max_age: duration()
        .prefault('5m')
        .refine((ms) => ms >= 1000 && ms <= 600_000, 'must be 1s to 10m')
        .describe('How far a signed timestamp may lie from now, either way.'),
    })
    .prefault({})
    .describe('Signed requests.'),
  jwt: z
    .strictObject({
      issuers: z
        .array(issuer)
        .default([])
        .refine(
          (list) => new Set(list.map((each) => each.issuer)).size === list.length,
          'an issuer may stand here once',
        )
        .describe('Whose tokens are taken. Without any, none is.'),
      cache_duration: duration()
        .prefault('10m')
        .describe('How long fetched keys are used before they are fetched again.'),
    })
    .prefault({})
    .describe('Tokens of identity providers.'),
})

export type AuthConfig = z.output<typeof config>
export type Issuer = AuthConfig['jwt']['issuers'][number]
export type MethodName = (typeof METHODS)[number]

function isTrustedUrl(text: string): boolean {
  if (!URL.canParse(text)) return false
  const { protocol, hostname, username } = new URL(text)
  if (username !== '') return false
  return protocol === 'https:' || (protocol === 'http:' && isLoopback(hostname.replace(/^\[|\]$/g, '')))
}
