import { z } from 'zod'
import { TENANT } from '../../pipeline/admission.ts'
import { duration } from '../../pipeline/schema.ts'
import { validators } from './index.ts'
import { SEVERITIES, type ValidatorFactory } from './validator.ts'

const threshold = z.enum([...SEVERITIES, 'NONE'])

/** A validator's own keys, and whether it runs at all. */
function block({ config }: ValidatorFactory): z.ZodObject {
  return config.safeExtend({ enabled: z.boolean().default(true).describe('false: it is left out.') })
}

/** Each validator's block by its type; `defaults`: an absent one is as if it were written empty. */
function blocks(defaults: boolean): Record<string, z.ZodType> {
  const entries = validators.map((validator): [string, z.ZodType] => {
    const schema = defaults ? block(validator).prefault({}) : block(validator).optional()
    return [validator.type, schema.describe(validator.summary)]
  })
  return Object.fromEntries(entries)
}

export const config = z.strictObject({
  threshold: threshold
    .default('ERROR')
    .describe(
      'A span with a finding of this severity or above is rejected at ingestion; below it is annotated. NONE: nothing is rejected.',
    ),
  runs: z
    .strictObject({
      end_wait: duration()
        .prefault('2s')
        .describe('From the finish of a run (toon, jsonl) to its judgement.'),
      root_wait: duration()
        .prefault('10s')
        .describe('From the root span of a trace to its judgement: other programs may send theirs later.'),
      idle_timeout: duration()
        .prefault('5m')
        .describe('A trace whose root span does not come is judged when nothing of it came for so long.'),
      batch_interval: duration()
        .prefault('1h')
        .refine((ms) => ms >= 1000, 'must be 1s or more')
        .describe('Runs that ended within the same interval are judged together.'),
    })
    .prefault({})
    .describe('When runs are judged. Times are those of the write-ahead log.'),
  tenants: z
    .record(
      z.string().regex(TENANT, 'must be a tenant id'),
      z.strictObject({
        threshold: threshold.optional().describe('Default: `threshold` of all.'),
        ...blocks(false),
      }),
    )
    .default({})
    .describe("Policies of single tenants, by id. A validator's block given here stands alone."),
  ...blocks(true),
})

export type Threshold = z.output<typeof threshold>
/** What is the same for every set of validators; their blocks stand beside, by type. */
export interface ValidatorsConfig {
  readonly threshold: Threshold
  readonly runs: {
    readonly end_wait: number
    readonly root_wait: number
    readonly idle_timeout: number
    readonly batch_interval: number
  }
  readonly tenants: Readonly<Record<string, TenantConfig>>
  readonly [validator: string]: unknown
}
interface TenantConfig {
  readonly threshold?: Threshold | undefined
  readonly [validator: string]: unknown
}
