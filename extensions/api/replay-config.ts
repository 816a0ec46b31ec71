import { z } from 'zod'
import { duration, secret } from '../../pipeline/schema.ts'

const url = z
  .url({ protocol: /^https?$/ })
  .refine((text) => new URL(text).username === '', 'give credentials as headers')

const headers = z
  .record(z.string().regex(/^[A-Za-z0-9-]+$/), secret())
  .default({})
  .describe('Sent with each request; values are secrets.')

const llm = z.strictObject({
  type: z.enum(['openai', 'anthropic']).describe('Which API it speaks: chat completions, or messages.'),
  endpoint: url.describe(
    'Its URL: `https://api.openai.com/v1`, `https://api.anthropic.com`, `http://127.0.0.1:8000/v1`.',
  ),
  api_key: secret().optional().describe('As ${env:…} or ${file:…}.'),
  model: z.string().min(1).optional().describe('Asked instead of the recorded one; --model goes before.'),
  headers,
  timeout: duration().prefault('2m').describe('For one answer.'),
})

const hook = z.union([
  z.strictObject({
    endpoint: url.describe('POSTed to.'),
    headers,
    timeout: duration().prefault('30s').describe('For one call.'),
  }),
  z.strictObject({
    command: z
      .array(z.string())
      .min(1)
      .describe('Program and arguments, without a shell: JSON on its standard input, JSON on its output.'),
    timeout: duration().prefault('30s').describe('For one call.'),
  }),
])

export const replayConfig = z.strictObject({
  llm: z
    .record(z.string().regex(/^[a-z0-9_-]{1,64}$/), llm)
    .default({})
    .describe('Where models may be asked again, by name (--llm): nothing else is ever connected to.'),
  tools: z
    .record(z.string().min(1).max(256), hook)
    .default({})
    .describe('How tools are called again in mode verification, by tool; `*` for all others.'),
  restore: z
    .strictObject({
      environment: hook.optional().describe('Restores the environment snapshot that a run names.'),
      database: hook.optional().describe('Restores the database snapshot that a run names.'),
    })
    .prefault({})
    .describe('Called before a verification, where the run names a snapshot.'),
  timeout: duration()
    .prefault('4m')
    .refine((ms) => ms <= 280_000, { error: 'must be below 280s: clients give up then' })
    .describe('For one replay, at most 280s.'),
  max_calls: z.int().positive().default(1000).describe('Most calls of a run that are made again outside.'),
  max_concurrent: z.int().positive().default(2).describe('Replays at once.'),
})

export type ReplayConfig = z.output<typeof replayConfig>
