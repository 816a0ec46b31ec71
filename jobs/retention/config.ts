import { z } from 'zod'
import { TENANT } from '../../pipeline/admission.ts'
import { TIERS } from '../../pipeline/identity/records.ts'
import { jobConfig } from '../../pipeline/jobs/timing.ts'

const days = () => z.number().int().min(0).max(36_500)

const traces = z.strictObject({
  free: days().default(30).describe('Of tenants of the tier `free`.'),
  paid: days().default(90).describe('Of tenants of the tier `paid`.'),
  enterprise: days()
    .default(0)
    .describe('Of tenants of the tier `enterprise`: what was agreed with each stands under `tenants`.'),
})

const ownDays = z.strictObject({
  traces: days().optional().describe('Instead of the days of its tier.'),
  dead_letters: days().optional().describe('Instead of `dead_letters`.'),
})

export const config = jobConfig(
  {
    traces: traces.prefault({}).describe('Days that spans are kept, by their start; 0: for ever.'),
    dead_letters: days().default(30).describe('Days that dead letters are kept; 0: for ever.'),
    audit: days().default(365).describe('Days that the audit log is kept; 0: for ever.'),
    without_tenant: days()
      .default(0)
      .describe(
        'Days that rows without a tenant are kept, which another program wrote into the table; 0: for ever.',
      ),
    tenants: z
      .record(z.string().regex(TENANT, 'must match ^[a-z0-9][a-z0-9_-]{0,62}$'), ownDays)
      .default({})
      .describe('Tenants with days of their own.'),
    default_tier: z
      .enum(TIERS)
      .default('free')
      .describe('Of tenants that are not in the directory; without `auth` that is everybody.'),
  },
  { schedule: '0 2 * * *', jitter: '10m', deadline: '12h' },
)

export type Config = z.output<typeof config>

export const params = z.strictObject({
  tenant: z.string().regex(TENANT, 'must be the id of a tenant').optional(),
  /** Id of an exporter or connector, `<connector>/dead_letters`, `audit`. */
  store: z.string().min(1).optional(),
})
export type Params = z.output<typeof params>
