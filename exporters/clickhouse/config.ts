import { z } from 'zod'
import { byteSize, duration, secret } from '../../pipeline/schema.ts'

const URL_FORM = /^https?:\/\/[^\s]+$/

const tls = z
  .strictObject({
    ca_file: z.string().optional().describe('PEM file of the authority that signed the server.'),
    cert_file: z.string().optional().describe('PEM file of our certificate, where the server asks for one.'),
    key_file: z.string().optional().describe('PEM file of its key.'),
    insecure_skip_verify: z.boolean().default(false).describe('Accept any certificate.'),
  })
  .describe('How an `https` endpoint is trusted; the system authorities when left out.')

const batch = z
  .strictObject({
    max_spans: z.number().int().min(1).max(100_000).default(65_536).describe('Spans per insert, at most.'),
    max_bytes: byteSize().prefault('64MiB').describe('OTLP bytes per insert, about.'),
    max_wait: duration().prefault('250ms').describe('How long the first span of an insert waits for others.'),
  })
  .describe('The size of one insert. Each costs about 30 ms of CPU, whatever its size.')

const memory = z
  .strictObject({
    mark_cache: byteSize().prefault('64MiB').describe('Marks and primary keys kept in memory.'),
    max: byteSize()
      .prefault('2GiB')
      .describe('All memory of ClickHouse; past it a statement fails and is tried again.'),
  })
  .describe('Bounds of embedded ClickHouse.')

/** Keys as in the collector's clickhouse exporter where they mean the same. */
export const config = z
  .strictObject({
    endpoint: z
      .union([z.literal('embedded'), z.string().regex(URL_FORM, 'must be `embedded` or http(s)://host:port')])
      .default('embedded')
      .describe('`embedded` (npm `chdb`, in the store process) or the HTTP interface of a server.'),
    directory: z
      .string()
      .min(1)
      .default('./data/clickhouse')
      .describe('Where embedded ClickHouse keeps its data.'),
    database: z
      .string()
      .regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'must be a plain name')
      .optional()
      .describe('Made when absent. `weir` embedded, else `default`.'),
    username: z.string().default('default').describe('Server only.'),
    password: secret().optional().describe('Server only.'),
    tls: tls.optional(),
    compress: z.enum(['none', 'gzip']).default('none').describe('Of requests to a server.'),
    timeout: duration()
      .prefault('30s')
      .describe('Per statement; past it the insert counts as uncertain and is reconciled.'),
    ttl: duration()
      .prefault('0')
      // ClickHouse's DateTime ends in 2106; past it the sum wraps and everything is expired at once.
      .refine((ms) => ms <= 40 * 365 * 86_400_000, 'must be at most 40 years')
      .describe(
        'Age, by start time, past which spans are deleted and arriving ones are dropped as `expired`. 0: never.',
      ),
    create_schema: z
      .boolean()
      .default(true)
      .describe('Apply the migrations at start. Where false, the columns are only checked.'),
    traces_table_name: z
      .string()
      .regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'must be a plain name')
      .default('otel_traces')
      .describe('The table of spans; the look-up table is named after it.'),
    durability: z
      .enum(['process', 'strict'])
      .default('process')
      .describe('`strict`: every insert is synced to disk before the WAL may forget it.'),
    batch: batch.prefault({}),
    memory: memory.prefault({}),
  })
  .refine((c) => c.endpoint !== 'embedded' || c.database !== 'default', {
    path: ['database'],
    message: 'must not be `default` when embedded: there, unknown tables of it are read as files',
  })

export type Config = z.output<typeof config>
