import { z } from 'zod'
import { byteSize, duration } from '../../pipeline/schema.ts'
import { audit, policy, SEVERITIES } from './policy-config.ts'

const count = z.number().int().nonnegative()

export const config = z
  .strictObject({
    sampling_percentage: z
      .number()
      .min(0)
      .max(100)
      .optional()
      .describe(
        'Head sampling: keeps this share of all traces, by the randomness of their ids, and writes the threshold into the tracestate. Works anywhere.',
      ),
    mode: z
      .enum(['equalizing', 'proportional'])
      .default('equalizing')
      .describe(
        'What head sampling makes of spans that were sampled before. equalizing: the percentage is that of the origin, so that less is left out here; proportional: it is of what arrives.',
      ),
    sampling_precision: z
      .number()
      .int()
      .min(1)
      .max(13)
      .default(4)
      .describe('Significant hex digits of the threshold.'),
    fail_closed: z
      .boolean()
      .default(true)
      .describe('Head sampling leaves out spans that have no trace id. false: it keeps them.'),
    policies: z
      .array(policy)
      .default([])
      .describe(
        'Tail sampling: a trace is kept when one of these keeps it and none of type `drop` applies. Only behind the WAL.',
      ),
    audit: audit
      .optional()
      .describe(
        'A ready policy: traces with errors, timeouts or slow spans are kept, and a share of the rest. Beside `policies`, or alone.',
      ),
    decision_wait: duration()
      .prefault('30s')
      .describe('A trace is judged by its spans of this much WAL time, from its first.'),
    run_wait: duration()
      .prefault('2m')
      .describe(
        'The trace of an agent run that has not ended is judged when it has, and its verdicts are in, at latest after this. Everything behind waits with it. 0: runs are traces as any other.',
      ),
    verdict_wait: duration()
      .prefault('10s')
      .describe(
        'How long after the end of a run its verdicts are waited for: longer than `runs.end_wait` of the validators.',
      ),
    keep_violations: z
      .enum([...SEVERITIES, 'NONE'])
      .default('INFO')
      .describe(
        'Traces with a violation of this severity or above are always kept whole. NONE: policies decide.',
      ),
    max_bytes: byteSize()
      .prefault('128MiB')
      .describe(
        'Memory for traces that are not judged yet, about 0.5 KiB each; over it the oldest are judged early, counted.',
      ),
    num_traces: z
      .number()
      .int()
      .nonnegative()
      .default(0)
      .describe('Most traces that are not judged yet. 0: only `max_bytes` counts.'),
    decision_cache: z
      .strictObject({
        max_bytes: byteSize()
          .prefault('32MiB')
          .describe(
            'Decisions that are remembered for late spans, in memory and in the state store, 32 bytes each.',
          ),
        sampled_cache_size: count
          .optional()
          .describe('Accepted for the collector’s configs; `max_bytes` decides.'),
        non_sampled_cache_size: count
          .optional()
          .describe('Accepted for the collector’s configs; `max_bytes` decides.'),
      })
      .prefault({})
      .describe('What late spans are judged by.'),
    expected_new_traces_per_sec: z
      .number()
      .nonnegative()
      .optional()
      .describe('Accepted for the collector’s configs; nothing depends on it.'),
  })
  .superRefine((settings, context) => {
    if (settings.sampling_percentage !== undefined || isTail(settings)) return
    context.addIssue({
      code: 'custom',
      message: 'samples nothing: give sampling_percentage (head), or policies or audit (tail)',
    })
  })

export type SamplingConfig = z.output<typeof config>

/** Traces are judged whole, which takes a WAL. */
export function isTail({ policies, audit: preset }: Pick<SamplingConfig, 'policies' | 'audit'>): boolean {
  return policies.length > 0 || preset !== undefined
}
