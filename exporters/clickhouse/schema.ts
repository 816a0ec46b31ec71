import { messageOf, reject } from '../../pipeline/fault.ts'
import type { Log } from '../../pipeline/telemetry/log.ts'
import { quoteName, quoteText } from '../../proto/clickhouse/native.ts'
import { SpanBlock } from './block.ts'
import { isEmbedded, type Config } from './config.ts'
import type { Connection } from './connection.ts'
import { ttlStatements } from './ddl.ts'
import { migrate } from './migrate.ts'
import { identify, type StoreKind } from './store-kind.ts'
import { withNames, type Target } from './target.ts'

/** Brings the tables to what the exporter writes: migrations, TTL, syncing. Fault START_FAILED names what is missing. */
export async function prepare(
  connection: Connection,
  target: Target,
  config: Config,
  log: Log,
): Promise<StoreKind> {
  await checkSettings(connection, config)
  if (config.create_schema) {
    await migrate(connection, target, log)
    if (isEmbedded(config)) await tuneEmbedded(connection, target, config.durability)
  }
  const look = async (one: Connection) => {
    await checkColumns(one, target)
    return await identify(one, target)
  }
  const kind = await (connection.pin?.(look) ?? look(connection))
  await applyTtl(connection, target, config, log)
  return kind
}

/** One that the server does not know would fail every insert. */
async function checkSettings(connection: Connection, { settings }: Config): Promise<void> {
  const names = Object.keys(settings)
  if (names.length === 0) return
  const { data } = await connection.rows(
    'SELECT name FROM system.settings WHERE name IN {names:Array(String)}',
    { names },
  )
  const known = new Set(data.map(([name]) => name))
  const unknown = names.filter((name) => !known.has(name))
  if (unknown.length === 0) return
  throw reject('START_FAILED', `clickhouse: settings: this ClickHouse does not know ${unknown.join(', ')}`)
}

/**
 * A merge takes twice the CPU per row that its insert did, so a row is to be merged seldom. ClickHouse lowers `merge_selector_base` as a
 * partition gets more parts, from 10 on, to 2 at 50: of 200 it leaves what 43 new parts meet, and hardly anything that has a large part
 * in it. With time it lowers it further, so that fewer are merged, too. Parts of more than 16 GiB are left as they are: to merge
 * them takes an hour, while new ones pile up. What was merged is wide, so that its columns are merged one by one: an eighth less
 * CPU and half the memory (measured); what was inserted stays in one file.
 */
const MERGES =
  'min_parts_to_merge_at_once = 20, merge_selector_base = 200, max_bytes_to_merge_at_max_space_in_pool = 17179869184, min_bytes_for_wide_part = 67108864, min_level_for_wide_part = 1'

/**
 * Brings embedded tables to weir's own policy; a server's owner has his own. Synced inserts survive
 * power loss: else ClickHouse leaves new parts to the page cache. So do synced merges: embedded, what was merged is removed
 * at once (`old_parts_lifetime = 0`), where a server keeps it until the page cache has been written (480 s).
 */
async function tuneEmbedded(
  connection: Connection,
  target: Target,
  durability: Config['durability'],
): Promise<void> {
  const synced = durability === 'strict' ? 1 : 0
  const sync = `fsync_after_insert = ${synced}, fsync_part_directory = ${synced}, min_rows_to_fsync_after_merge = ${synced}`
  for (const name of [target.tracesName, target.traceIdTsName]) {
    const table = `${quoteName(target.database)}.${quoteName(name)}`
    const codecs = await laterCodecs(connection, target.database, name)
    await connection.command(
      `ALTER TABLE ${table} ${[...codecs, `MODIFY SETTING ${sync}, ${MERGES}`].join(', ')}`,
    )
  }
}

/**
 * ZSTD took a third of an insert's CPU (measured), for rows that a merge soon writes again: with `Default`, `embedded.xml` tells
 * small parts from large ones. What the table's owner chose himself stays.
 */
async function laterCodecs(connection: Connection, database: string, table: string): Promise<string[]> {
  const { data } = await connection.rows(
    "SELECT name, compression_codec FROM system.columns WHERE database = {database:String} AND table = {table:String} AND compression_codec LIKE '%ZSTD(1)%'",
    { database, table },
  )
  return data.map(
    ([name, codec]) =>
      `MODIFY COLUMN ${quoteName(String(name))} ${String(codec).replace('ZSTD(1)', 'Default')}`,
  )
}

async function checkColumns(connection: Connection, target: Target): Promise<void> {
  const { data } = await connection.rows(
    'SELECT name FROM system.columns WHERE database = {database:String} AND table = {table:String}',
    { database: target.database, table: target.tracesName },
  )
  const present = new Set(data.map(([name]) => name))
  const missing = new SpanBlock().names.filter((name) => !present.has(name))
  if (missing.length === 0) return
  throw reject(
    'START_FAILED',
    `clickhouse: ${target.traces} lacks the columns ${missing.join(', ')}: set create_schema: true, or apply what \`weir schema clickhouse\` prints`,
  )
}

async function applyTtl(connection: Connection, target: Target, config: Config, log: Log): Promise<void> {
  const seconds = Math.ceil(config.ttl / 1000)
  const ddl = await createQuery(connection, target, target.tracesName)
  const present = /\sTTL\s+toDateTime\(Timestamp\)\s*\+\s*toIntervalSecond\((\d+)\)/.exec(ddl)?.[1]
  if (seconds === 0) {
    if (/\sTTL\s/.test(ddl))
      log.warn(
        'clickhouse: the table has a TTL of its own and `ttl` is 0: ClickHouse will delete what arrives past it',
      )
    return
  }
  if (!config.create_schema || present === String(seconds)) return
  try {
    for (const sql of ttlStatements(seconds)) await connection.command(withNames(sql, target))
  } catch (error) {
    throw reject('START_FAILED', `clickhouse: ttl: ${messageOf(error)}`, { cause: error })
  }
}

async function createQuery(connection: Connection, target: Target, table: string): Promise<string> {
  const { data } = await connection.rows(
    `SELECT create_table_query FROM system.tables WHERE database = ${quoteText(target.database)} AND name = ${quoteText(table)}`,
    {},
  )
  return data[0]?.[0] as string
}
