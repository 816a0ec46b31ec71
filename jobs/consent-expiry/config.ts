import { z } from 'zod'
import { TENANT } from '../../pipeline/admission.ts'
import { jobConfig } from '../../pipeline/jobs/timing.ts'
import { duration } from '../../pipeline/schema.ts'

export const config = jobConfig(
  {
    behind: duration()
      .prefault('20m')
      .describe(
        'Spans that started later than this before a run are left to the second one, which comes at least so much later: their insert may still be repeated, or looked for (`reconcile` of the exporter).',
      ),
    sanitizer: z
      .string()
      .optional()
      .describe(
        'By whose rules traces are redacted: id of the processor. Needed where ingest pipelines have several.',
      ),
  },
  { schedule: '0 1 * * *', jitter: '10m', deadline: '24h' },
)

export type Config = z.output<typeof config>

export const params = z.strictObject({
  tenant: z.string().regex(TENANT).optional().describe('Only consents of this tenant.'),
})

export type Params = z.output<typeof params>
