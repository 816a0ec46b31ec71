import { z } from 'zod'
import { TENANT } from '../../pipeline/admission.ts'

const usd = z
  .union([z.number().nonnegative(), z.string().regex(/^\d{1,9}(\.\d{1,12})?$/)])
  .transform(String)
  .refine(
    (text) => /^\d{1,9}(\.\d{1,12})?$/.test(text),
    'a price in USD per 1,000,000 tokens, up to 12 decimals',
  )

const day = z.iso.date().or(z.iso.datetime({ offset: true }))

export const override = z
  .strictObject({
    tenant: z
      .string()
      .regex(TENANT, 'must be a tenant id, as identity gives them')
      .optional()
      .describe('Only for this tenant. Its overrides come before those for everybody.'),
    provider: z
      .string()
      .optional()
      .describe(
        'Only for this provider, by its OpenTelemetry name: `openai`, `aws.bedrock`, … Names that instrumentations give it mean the same.',
      ),
    model: z
      .string()
      .min(1)
      .describe(
        'Response model or request model (a deployment) as the sender writes it; `prefix*` takes all that begin so.',
      ),
    from: day.optional().describe('First day (UTC) or instant of the price.'),
    to: day.optional().describe('First day (UTC) or instant after it.'),
    input: usd.describe('USD per 1,000,000 uncached input tokens.'),
    output: usd.describe('USD per 1,000,000 output tokens.'),
    cache_read: usd.optional().describe('Tokens read from a cache. Default: `input`.'),
    cache_write: usd.optional().describe('Tokens written to a cache for 5 minutes. Default: `input`.'),
    cache_write_1h: usd.optional().describe('Tokens written for an hour. Default: `cache_write`.'),
    reasoning: usd.optional().describe('Reasoning tokens. Default: `output`.'),
    audio_input: usd.optional().describe('Default: `input`.'),
    audio_output: usd.optional().describe('Default: `output`.'),
    image_input: usd.optional().describe('Default: `input`.'),
    image_output: usd.optional().describe('Default: `output`.'),
  })
  .refine(({ from, to }) => from === undefined || to === undefined || Date.parse(from) < Date.parse(to), {
    path: ['to'],
    error: 'must come after from',
  })

export const config = z.strictObject({
  overrides: z
    .array(override)
    .default([])
    .describe(
      'Your own prices: contracts, deployments, self-hosted models. They come before the table; the first that fits wins.',
    ),
  price_file: z
    .string()
    .min(1)
    .optional()
    .describe('A price table to use in place of the built-in one, as `npm run prices` writes it.'),
})

export type CostConfig = z.output<typeof config>
export type Override = z.output<typeof override>
