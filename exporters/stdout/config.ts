import { z } from 'zod'

export const config = z.strictObject({
  verbosity: z
    .enum(['basic', 'normal', 'detailed'])
    .default('basic')
    .describe('basic: a line per batch; normal: a line per span; detailed: every attribute, event and link.'),
  format: z
    .enum(['text', 'json'])
    .default('text')
    .describe('text for people; json: one OTLP/JSON object per batch and line, whatever the verbosity.'),
})
