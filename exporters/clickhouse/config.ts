import { z } from 'zod'
import { clientTls } from '../../pipeline/net/client-tls.ts'
import { canZstd } from '../../pipeline/net/compress.ts'
import { byteSize, duration, secret } from '../../pipeline/schema.ts'

const URL_FORM = /^https?:\/\/[^\s]+$/

const url = () => z.string().regex(URL_FORM, 'must be http(s)://host:port')

/** What exactly once rests on, and what stands in the statement anyway: not a user's to change. */
const OURS = new Set([
  'async_insert',
  'insert_deduplicate',
  'insert_deduplication_token',
  'deduplicate_blocks_in_dependent_materialized_views',
  'max_insert_threads',
  'max_block_size',
  'max_insert_block_size',
  'min_insert_block_size_rows',
  'min_insert_block_size_bytes',
  'throw_on_max_partitions_per_insert_block',
  'max_partitions_per_insert_block',
  'distributed_foreground_insert',
  'insert_distributed_sync',
  'max_execution_time',
])

const settings = z
  .record(
    z
      .string()
      .regex(/^[a-z][a-z0-9_]*$/, 'must be the name of a ClickHouse setting')
      .refine((name) => !OURS.has(name), 'is set by weir: exactly once depends on it'),
    z.union([z.string(), z.number(), z.boolean()]),
  )
  .default({})
  .describe(
    'ClickHouse settings of each insert, in its SETTINGS clause: `insert_quorum: auto`, `log_comment`, …',
  )

const batch = z
  .strictObject({
    max_spans: z.number().int().min(1).max(100_000).default(65_536).describe('Spans per insert, at most.'),
    max_bytes: byteSize().prefault('64MiB').describe('OTLP bytes per insert, about.'),
    max_wait: duration().prefault('600ms').describe('How long the first span of an insert waits for others.'),
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
    endpoints: z
      .array(url())
      .min(1)
      .max(16)
      .optional()
      .describe(
        'Instead of `endpoint`: replicas of one replicated table, or addresses of one server. The first that works is used until it fails.',
      ),
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
    tls: clientTls
      .optional()
      .describe('How an `https` endpoint is trusted; the system authorities when left out.'),
    compress: z
      .enum(['none', 'gzip', 'zstd'])
      .default('none')
      .describe('Of inserts into a server. zstd needs Node.js 22.15.'),
    settings,
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
    reconcile: duration()
      .prefault('15m')
      .describe(
        'How long after an insert into tables that are not synced (`fsync_after_insert`) it is counted once more, and restored from the WAL where a power loss took it. 0: never. Server only.',
      ),
    batch: batch.prefault({}),
    memory: memory.prefault({}),
  })
  .refine((c) => c.endpoints === undefined || c.endpoint === 'embedded', {
    path: ['endpoints'],
    message: 'only one of endpoint and endpoints may be set',
  })
  .refine((c) => c.compress !== 'zstd' || canZstd, {
    path: ['compress'],
    message: 'zstd needs Node.js 22.15 or newer; use gzip',
  })
  .refine((c) => !isEmbedded(c) || c.database !== 'default', {
    path: ['database'],
    message: 'must not be `default` when embedded: there, unknown tables of it are read as files',
  })

export type Config = z.output<typeof config>

export function isEmbedded(config: {
  readonly endpoint: string
  readonly endpoints?: readonly string[] | undefined
}): boolean {
  return config.endpoints === undefined && config.endpoint === 'embedded'
}
