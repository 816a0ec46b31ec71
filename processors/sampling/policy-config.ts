import { z } from 'zod'

/** The collector's `policies:`, key by key (tail_sampling processor), and four of our own: what agents are judged by. */

const percentage = z.number().min(0).max(100)
const count = z.number().int().nonnegative()
const operations = z
  .record(z.string(), count)
  .default({})
  .describe('Thresholds of single operations (`chat`, `execute_tool`, …) or span names, in ms.')

export const SEVERITIES = ['INFO', 'WARNING', 'ERROR', 'CRITICAL'] as const
export const severity = z.enum(SEVERITIES)

const BLOCKS = {
  latency: z
    .strictObject({
      threshold_ms: count.describe(
        'The trace took at least this long, from its first start to its last end.',
      ),
      upper_threshold_ms: count
        .default(0)
        .describe('With it: longer than `threshold_ms`, and at most this long. 0: no upper bound.'),
    })
    .optional()
    .describe('The time that the trace took.'),
  span_latency: z
    .strictObject({
      threshold_ms: count.describe('One span took longer than this.'),
      operations,
    })
    .optional()
    .describe('Not in the collector: judges single spans, by operation.'),
  status_code: z
    .strictObject({
      status_codes: z
        .array(z.enum(['OK', 'ERROR', 'UNSET']))
        .min(1)
        .describe('A span has one of these.'),
    })
    .optional()
    .describe('A span has this status.'),
  string_attribute: z
    .strictObject({
      key: z.string().min(1).describe('Attribute of a span or its resource.'),
      values: z.array(z.string()).min(1).describe('Exact values, or regular expressions.'),
      enabled_regex_matching: z
        .boolean()
        .default(false)
        .describe('`values` are regular expressions, run in linear time; found anywhere in the value.'),
      cache_max_size: count.default(128).describe('Values whose match is remembered.'),
      invert_match: z.boolean().default(false).describe('No span of the trace matches.'),
    })
    .optional()
    .describe('A span has this attribute.'),
  numeric_attribute: z
    .strictObject({
      key: z.string().min(1).describe('Attribute of a span or its resource.'),
      min_value: z.number().optional().describe('Least value. Default: none.'),
      max_value: z.number().optional().describe('Greatest value. Default: none.'),
      invert_match: z.boolean().default(false).describe('No span of the trace matches.'),
    })
    .optional()
    .describe('A span has this attribute within bounds.'),
  boolean_attribute: z
    .strictObject({
      key: z.string().min(1).describe('Attribute of a span or its resource.'),
      value: z.boolean().describe('What it must be.'),
      invert_match: z.boolean().default(false).describe('No span of the trace matches.'),
    })
    .optional()
    .describe('A span has this attribute.'),
  trace_state: z
    .strictObject({
      key: z.string().min(1).describe('Member of the tracestate.'),
      values: z.array(z.string()).min(1).describe('Exact values.'),
    })
    .optional()
    .describe('A span has this in its tracestate.'),
  span_count: z
    .strictObject({
      min_spans: count.default(0).describe('Least number of spans.'),
      max_spans: count.default(0).describe('Greatest number. 0: no bound.'),
    })
    .optional()
    .describe('The number of spans.'),
  cost: z
    .strictObject({
      min_usd: z.number().nonnegative().describe('All model calls of the trace cost at least this.'),
    })
    .optional()
    .describe('Not in the collector. The cost processor must stand before.'),
  tokens: z
    .strictObject({ min_tokens: count.describe('All model calls of the trace used at least this many.') })
    .optional()
    .describe('Not in the collector.'),
  violation: z
    .strictObject({
      min_severity: severity.default('INFO').describe('A validator found something this grave.'),
    })
    .optional()
    .describe('Not in the collector.'),
  probabilistic: z
    .strictObject({
      sampling_percentage: percentage.describe('Of traces, by the randomness of their ids.'),
      hash_salt: z
        .string()
        .default('')
        .describe(
          'Makes the choice independent of other samplers. Default: consistent with them, and written into the tracestate.',
        ),
    })
    .optional()
    .describe('A share of all traces.'),
  rate_limiting: z
    .strictObject({
      spans_per_second: count.describe('Of WAL time.'),
      burst_capacity: count.optional().describe('Default: twice `spans_per_second`.'),
    })
    .optional()
    .describe('So many spans per second.'),
  bytes_limiting: z
    .strictObject({
      bytes_per_second: count.describe('Of WAL time; bytes of spans as received.'),
      burst_capacity: count.optional().describe('Default: twice `bytes_per_second`.'),
    })
    .optional()
    .describe('So many bytes per second.'),
} as const

type Block = keyof typeof BLOCKS
const LEAVES = ['always_sample', ...(Object.keys(BLOCKS) as Block[])] as const

const name = z.string().min(1).max(128).describe('Names it in metrics.')

/** The block that `type` names must be there, and no other. */
function checkBlocks(policy: Readonly<Record<string, unknown>>, context: z.RefinementCtx): void {
  const type = String(policy['type'])
  for (const key of Object.keys(policy)) {
    if (key === 'name' || key === 'type' || key === type || policy[key] === undefined) continue
    context.addIssue({ code: 'custom', path: [key], message: `a policy of type ${type} has no ${key}` })
  }
  if (type === 'always_sample' || policy[type] !== undefined) return
  context.addIssue({ code: 'custom', message: `a policy of type ${type} needs the key ${type}` })
}

const leaf = z
  .strictObject({ name, type: z.enum(LEAVES), ...BLOCKS })
  .superRefine(checkBlocks)
  .meta({ notation: 'policy' })

const not = z
  .strictObject({ not_sub_policy: leaf.describe('Kept is what this one would not keep.') })
  .optional()
  .describe('The opposite of another policy.')

const part = z
  .strictObject({ name, type: z.enum([...LEAVES, 'not']), ...BLOCKS, not })
  .superRefine(checkBlocks)
  .meta({ notation: 'policy' })

const and = z
  .strictObject({ and_sub_policy: z.array(part).min(1).describe('All of them must keep the trace.') })
  .optional()
  .describe('Several policies at once.')

const sub = z
  .strictObject({ name, type: z.enum([...LEAVES, 'not', 'and']), ...BLOCKS, not, and })
  .superRefine(checkBlocks)
  .meta({ notation: 'policy' })

const drop = z
  .strictObject({
    drop_sub_policy: z
      .array(sub)
      .min(1)
      .describe('When all of them would keep the trace it is dropped, whatever other policies say.'),
  })
  .optional()
  .describe('What is left out in any case.')

const composite = z
  .strictObject({
    max_total_spans_per_second: count.describe('Of WAL time, over all parts.'),
    policy_order: z
      .array(z.string())
      .min(1)
      .describe('Names of the parts; the first that keeps the trace counts.'),
    composite_sub_policy: z.array(sub).min(1).describe('The parts.'),
    rate_allocation: z
      .array(
        z.strictObject({
          policy: z.string().describe('Name of a part.'),
          percent: percentage.describe('Its share of `max_total_spans_per_second`.'),
        }),
      )
      .default([])
      .describe('Parts that are not named share what is left.'),
  })
  .superRefine((block, context) => {
    const known = new Set(block.composite_sub_policy.map((policy) => policy.name))
    const named = [...block.policy_order, ...block.rate_allocation.map(({ policy }) => policy)]
    for (const missing of named.filter((one) => !known.has(one))) {
      context.addIssue({ code: 'custom', message: `no part is named "${missing}"` })
    }
  })
  .optional()
  .describe('Several policies with a rate for all.')

export const policy = z
  .strictObject({
    name,
    type: z
      .enum([...LEAVES, 'not', 'and', 'drop', 'composite'])
      .describe('Which of the keys below says what it does.'),
    ...BLOCKS,
    not,
    and,
    drop,
    composite,
  })
  .superRefine(checkBlocks)

export type PolicyConfig = z.output<typeof policy>
export type LeafConfig = z.output<typeof leaf>

/** What audit logs of agents are kept by. */
export const audit = z.strictObject({
  slow_ms: count.default(1500).describe('Traces with a slower span are always kept.'),
  operations,
  trace_percentage: percentage.default(20).describe('Of the other traces, kept whole.'),
  success_percentage: percentage
    .default(10)
    .describe('Of the spans in all other traces, kept one by one. 0: kept traces are whole.'),
  debug: z.boolean().default(false).describe('Keeps everything.'),
})
export type AuditConfig = z.output<typeof audit>
