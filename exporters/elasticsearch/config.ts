import { z } from 'zod'
import { clientTls } from '../../pipeline/net/client-tls.ts'
import { byteSize, duration, secret } from '../../pipeline/schema.ts'

const address = () => z.string().regex(/^https?:\/\/[^\s/]+(\/\S*)?$/, 'must be http(s)://host:port')

const batch = z.strictObject({
  max_spans: z.int().min(1).max(20_000).default(2000).describe('Spans per bulk request, at most.'),
  max_bytes: byteSize()
    .prefault('5MiB')
    .describe('Bytes per bulk request before compression. A larger document is sent alone.'),
  max_wait: duration().prefault('1s').describe('How long the first span of a request waits for others.'),
})

const daily = z.strictObject({
  enabled: z.boolean().default(true).describe('An index per day of the span’s start (UTC), else one index.'),
  prefix_separator: z.string().max(8).default('-').describe('Between `traces_index` and the day.'),
})

/** Keys as in the collector's elasticsearch exporter where they mean the same. */
export const config = z
  .strictObject({
    endpoint: address().optional().describe('The server, `http(s)://host:port`.'),
    endpoints: z.array(address()).min(1).max(32).optional().describe('Several nodes of one cluster.'),
    user: z.string().min(1).optional().describe('Basic authentication.'),
    password: secret().optional().describe('Basic authentication.'),
    api_key: secret().optional().describe('An Elasticsearch API key, encoded; instead of `user`.'),
    headers: z
      .record(z.string().regex(/^[a-zA-Z0-9!#$%&'*+.^_`|~-]+$/, 'must be a header name'), secret())
      .default({})
      .describe('Sent with every request.'),
    tls: clientTls.optional().describe('How the server is trusted; the public authorities when left out.'),
    traces_index: z
      .string()
      .regex(/^[a-z0-9][a-z0-9._-]{0,150}$/, 'must be a lower-case index name')
      .default('weir-traces')
      .describe('The index, or what its names begin with.'),
    logstash_format: daily.prefault({}).describe('Daily indexes: `weir-traces-2026.01.31`.'),
    pipeline: z.string().min(1).optional().describe('The ingest pipeline that documents go through.'),
    create_template: z
      .boolean()
      .default(true)
      .describe(
        'Put the index template `weir-traces` at start: types of the fields, attributes as one flat field.',
      ),
    compression: z.enum(['gzip', 'none']).default('gzip').describe('Of requests.'),
    timeout: duration().prefault('30s').describe('Of one request.'),
    batch: batch.prefault({}).describe('The size of one bulk request.'),
  })
  .refine((c) => (c.endpoint === undefined) !== (c.endpoints === undefined), {
    path: ['endpoint'],
    message: 'exactly one of endpoint and endpoints must be set',
  })
  .refine((c) => (c.user === undefined) === (c.password === undefined), {
    path: ['password'],
    message: 'user and password are set together',
  })

export type Config = z.output<typeof config>
