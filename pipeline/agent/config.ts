import { z } from 'zod'
import { duration } from '../schema.ts'
import type { AgentRunsOptions } from './agent-runs.ts'

/** The `runs` block of a receiver that opens agent runs. */
export const runs = z.strictObject({
  idle_timeout: duration()
    .prefault('24h')
    .describe('A run without events for this long is closed as `abandoned`.'),
  remember: duration()
    .prefault('168h')
    .describe(
      'How long ended runs are remembered, and what was taken already: idempotency keys, ranges of files.',
    ),
  max_idempotency_keys: z
    .number()
    .int()
    .positive()
    .default(1_000_000)
    .describe(
      'Idempotency keys (of files: ranges) of a tenant that are remembered; over it the oldest leave first, counted.',
    ),
})

export function runsOptions(config: z.output<typeof runs>): AgentRunsOptions {
  return { idleMs: config.idle_timeout, keepMs: config.remember, maxKeys: config.max_idempotency_keys }
}
