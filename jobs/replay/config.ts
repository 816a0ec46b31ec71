import { z } from 'zod'
import { jobConfig } from '../../pipeline/jobs/timing.ts'

export const config = jobConfig({
  chunk_spans: z
    .int()
    .min(1)
    .max(100_000)
    .default(32_768)
    .describe('Spans that are looked up, inserted and noted as done together, about.'),
  directories: z
    .array(z.string().min(1))
    .default([])
    .describe(
      'Where files lie that a replay may name as its source. None: only the exporters’ own archives.',
    ),
})

export type Config = z.output<typeof config>
