import { z } from 'zod'
import { TENANT } from '../../pipeline/admission.ts'
import { jobConfig } from '../../pipeline/jobs/timing.ts'
import { duration, instant } from '../../pipeline/schema.ts'

export const config = jobConfig(
  {
    window: duration()
      .prefault('168h')
      .describe('How far back a run by schedule looks, by the start of spans.'),
    behind: duration()
      .prefault('20m')
      .describe(
        'What started later is left to a later run: its insert may still be repeated, or looked for (`reconcile` of the exporter). Not for a run that is named.',
      ),
    sanitizer: z
      .string()
      .optional()
      .describe('Whose rules: id of the processor. Needed where ingest pipelines have several.'),
  },
  { schedule: '0 * * * *', jitter: '5m', deadline: '24h' },
)

export type Config = z.output<typeof config>

export const params = z.strictObject({
  run: z.string().min(1).max(256).optional().describe('Only this run: a run id or a trace id, of any age.'),
  tenant: z.string().regex(TENANT).optional().describe('Only this tenant.'),
  from: instant().optional().describe('Spans that started at or after this time; default: `window` ago.'),
  to: instant().optional().describe('Spans that started before this time; default: `behind` ago.'),
  force: z.boolean().default(false).describe('Also when no rule has changed since the last run.'),
})

export type Params = z.output<typeof params>
