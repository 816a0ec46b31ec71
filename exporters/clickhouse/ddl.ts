import { quoteName, quoteText } from '../../proto/clickhouse/native.ts'
import { migrations } from './migrate.ts'
import { targetFor, withNames, type Target } from './target.ts'

export interface DdlOptions {
  readonly database: string
  readonly table: string
  /** `ON CLUSTER`, and where Distributed tables look for their shards. */
  readonly cluster?: string | undefined
  readonly replicated: boolean
  /** The spans lie in `<table>_local` on each shard; `<table>` is Distributed over them. Needs `cluster`. */
  readonly distributed: boolean
  readonly ttlSeconds: number
  /** Every insert is synced to disk. */
  readonly strict: boolean
  /** Leaves out the migrations before it: for an upgrade. */
  readonly from: number
}

/**
 * What `create_schema` would do, as SQL for whoever does it by hand: idempotent statements, each migration under its name. Tables
 * come first, then what is over them, so that views find a Distributed table.
 */
export async function renderDdl(options: DdlOptions): Promise<string> {
  const all = (await migrations()).filter(({ version }) => version >= options.from)
  const isView = (sql: string) => sql.startsWith('CREATE OR REPLACE VIEW')
  const sections = [
    ...all.map(({ name, statements }) =>
      section(
        name,
        statements.filter((sql) => !isView(sql)),
        options,
        'local',
      ),
    ),
    section('settings', settings(options), options, 'local'),
    ...(options.distributed ? [section('distributed', DISTRIBUTED, options, 'whole')] : []),
    ...all.map(({ name, statements }) =>
      section(`${name}: views`, statements.filter(isView), options, 'whole'),
    ),
  ]
  const database = `CREATE DATABASE IF NOT EXISTS ${quoteName(options.database)}${onCluster(options)};`
  return [database, ...sections.filter((text) => text !== '')].join('\n\n')
}

/** `{{x}}`: the table itself; `{{x_local}}`: where its rows lie. */
const DISTRIBUTED = ['traces', 'trace_id_ts'].map(
  (name) => `CREATE OR REPLACE TABLE {{${name}}} AS {{${name}_local}}\nENGINE = {{${name}_engine}}`,
)

function section(
  name: string,
  statements: readonly string[],
  options: DdlOptions,
  names: 'local' | 'whole',
): string {
  if (statements.length === 0) return ''
  const whole = targetFor(options.database, options.table)
  const local = options.distributed ? localOf(options) : whole
  const text = statements.map((sql) => {
    const named = withNames(fillDistributed(sql, local, options), names === 'local' ? local : whole)
    return `${forEngine(forCluster(named, options), options)};`
  })
  return [`-- ${name}`, ...text].join('\n')
}

/** The look-up's view is between the local tables, under its own name. */
function localOf({ database, table }: DdlOptions): Target {
  const local = targetFor(database, `${table}_local`)
  const { traceIdTs, traceIdTsName } = targetFor(database, table)
  return {
    ...local,
    traceIdTsName: `${traceIdTsName}_local`,
    traceIdTs: traceIdTs.replace(/`$/, '_local`'),
    traceIdTsView: targetFor(database, table).traceIdTsView,
  }
}

/** Sharded by a function of the row, so that a repeated insert is cut as the first one was; a trace is on one shard. */
function fillDistributed(sql: string, local: Target, options: DdlOptions): string {
  const engine = (name: string) =>
    `Distributed(${[options.cluster ?? '', options.database, name].map(quoteText).join(', ')}, cityHash64(TraceId))`
  return sql
    .replaceAll('{{traces_local}}', local.traces)
    .replaceAll('{{trace_id_ts_local}}', local.traceIdTs)
    .replaceAll('{{traces_engine}}', engine(local.tracesName))
    .replaceAll('{{trace_id_ts_engine}}', engine(local.traceIdTsName))
}

function onCluster({ cluster }: DdlOptions): string {
  return cluster === undefined ? '' : ` ON CLUSTER ${quoteText(cluster)}`
}

/** Behind the name of what is made or altered, which is what each statement begins with. */
function forCluster(sql: string, options: DdlOptions): string {
  if (options.cluster === undefined) return sql
  return sql.replace(
    /^((?:CREATE (?:OR REPLACE )?(?:TABLE|VIEW|MATERIALIZED VIEW)(?: IF NOT EXISTS)?|ALTER TABLE) (?:`[^`]*`\.)?`?[^`\s(]+`?)/,
    (start) => start + onCluster(options),
  )
}

/** Keeper forgets tokens after an hour by default: a range may be repeated when a server comes back after a day. */
function forEngine(sql: string, { replicated }: DdlOptions): string {
  if (!replicated) return sql
  return sql
    .replace(/ENGINE = MergeTree\b/, `ENGINE = ReplicatedMergeTree(${KEEPER_PATH}, '{replica}')`)
    .replace(
      /non_replicated_deduplication_window = (\d+)/,
      'replicated_deduplication_window = $1, replicated_deduplication_window_seconds = 604800',
    )
}

const KEEPER_PATH = "'/clickhouse/tables/{shard}/{database}/{table}'"

function settings({ ttlSeconds, strict }: DdlOptions): string[] {
  const synced = ['traces', 'trace_id_ts'].map(
    (table) => `ALTER TABLE {{${table}}} MODIFY SETTING fsync_after_insert = 1, fsync_part_directory = 1`,
  )
  return [...(strict ? synced : []), ...(ttlSeconds > 0 ? ttlStatements(ttlSeconds) : [])]
}

/** Deletes by start time; parts go whole (`ttl_only_drop_parts`). */
export function ttlStatements(seconds: number): string[] {
  return [
    `ALTER TABLE {{traces}} MODIFY TTL toDateTime(Timestamp) + toIntervalSecond(${seconds})`,
    `ALTER TABLE {{trace_id_ts}} MODIFY TTL Start + toIntervalSecond(${seconds})`,
  ]
}
