import { z } from 'zod'
import { awsCredentials, awsRetries, hasBothKeys } from '../../pipeline/net/aws-client.ts'
import { clientTls } from '../../pipeline/net/client-tls.ts'
import { byteSize, duration } from '../../pipeline/schema.ts'
import { NAME_FIELDS } from './names.ts'

/** Days that PutRetentionPolicy takes, and 0: for ever. */
const RETENTION_DAYS = [
  0, 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
] as const
/** Text fields at the root of an event that are few enough to tell metrics apart by. */
const DIMENSIONS = [
  'tenant',
  'project',
  'service',
  'agent',
  'tool',
  'operation',
  'provider',
  'model',
] as const
const MAX_NAME = 512
const FIELD = new RegExp(`\\{(?:${NAME_FIELDS.join('|')})\\}`, 'g')

/** A name that may hold fields in braces; `allowed`: the other characters that AWS takes. */
const template = (allowed: RegExp, said: string) =>
  z
    .string()
    .min(1)
    .max(MAX_NAME / 2)
    .refine((text) => allowed.test(text.replace(FIELD, 'x')), said)

const emf = z.strictObject({
  namespace: z
    .string()
    .regex(/^(?!AWS\/)[A-Za-z0-9._\-/#: ]{1,255}$/, 'must be a namespace that does not begin with AWS/')
    .default('weir')
    .describe('Of the metrics.'),
  dimensions: z
    .array(z.array(z.enum(DIMENSIONS)).max(DIMENSIONS.length))
    .min(1)
    .max(8)
    .default([['provider', 'model']])
    .describe(
      'Sets of fields by which the metrics are kept; each distinct combination of values is a metric that AWS bills. `[]`: one metric over all.',
    ),
})

const batch = z.strictObject({
  max_spans: z.int().min(1).max(200_000).default(10_000).describe('Spans per delivery, at most.'),
  max_bytes: byteSize().prefault('4MiB').describe('OTLP bytes per delivery, about.'),
  max_wait: duration().prefault('5s').describe('How long the first span of a delivery waits for others.'),
})

/** Keys as in the collector's awscloudwatchlogs exporter where they mean the same. */
export const config = z
  .strictObject({
    log_group_name: template(
      /^(?!aws\/)[.\-_/#A-Za-z0-9]+$/,
      'may hold letters, digits, . - _ / # and fields in braces',
    )
      .default('/weir/{tenant}')
      .describe(
        'The log group, made when it is not there: `{tenant}`, `{project}`, `{service}`, `{agent}` of the span.',
      ),
    log_stream_name: template(/^[^:*{}]+$/, 'may not hold : * or braces other than fields')
      .default('{service}')
      .describe('The log stream, made when it is not there; the same fields.'),
    max_streams: z
      .int()
      .min(1)
      .max(100_000)
      .default(1000)
      .describe(
        'Streams that senders can have made in one run of the daemon, by the names they choose; spans past it go where all their fields but tenant and project are `other`.',
      ),
    region: z.string().min(1).default('us-east-1').describe('Of the log groups.'),
    endpoint: z
      .string()
      .regex(/^https?:\/\/[^\s]+$/, 'must be http(s)://host:port')
      .optional()
      .describe('A VPC endpoint or a stand-in; AWS when left out.'),
    log_retention: z
      .literal(RETENTION_DAYS)
      .default(0)
      .describe(
        'Days after which AWS deletes events, put on a group when a stream is made in it; 0: left as it is.',
      ),
    tags: z
      .record(
        z.string().regex(/^(?!aws:)[\p{L}\p{Z}\p{N}_.:/=+\-@]{1,128}$/u, 'must be the key of a tag'),
        z.string().max(256),
      )
      .refine((tags) => Object.keys(tags).length <= 50, 'may hold 50 tags at most')
      .default({})
      .describe('Of the groups that are made.'),
    log_group_class: z
      .enum(['STANDARD', 'INFREQUENT_ACCESS'])
      .default('STANDARD')
      .describe('Of the groups that are made. Metrics (`emf`) need STANDARD.'),
    kms_key_id: z.string().min(1).optional().describe('ARN of the key that new groups are encrypted with.'),
    ...awsCredentials,
    ...awsRetries,
    emf: emf
      .optional()
      .describe(
        'Embedded metric format: model calls also become the metrics `cost_usd`, tokens and `duration_ms`. Off when left out.',
      ),
    timeout: duration().prefault('30s').describe('Of one attempt of one request.'),
    tls: clientTls.optional().describe('How the endpoint is trusted; the public authorities when left out.'),
    batch: batch.prefault({}).describe('The size of one delivery, which becomes requests per stream.'),
  })
  .refine(hasBothKeys, {
    path: ['access_key_id'],
    message: 'access_key_id and secret_access_key are set together',
  })
  .refine((c) => c.emf === undefined || c.log_group_class === 'STANDARD', {
    path: ['emf'],
    message: 'needs log_group_class: STANDARD, as AWS takes no metrics from other classes',
  })

export type Config = z.output<typeof config>
