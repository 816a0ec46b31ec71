import { messageOf, reject, retry } from '../../pipeline/fault.ts'
import { quoteText } from '../../proto/clickhouse/native.ts'
import type { Connection, Settings } from './connection.ts'
import { codeOf } from './faults.ts'
import type { Target } from './target.ts'

/** What stands behind the table of spans: how its rows are counted after an uncertain insert, and where else they are. */
export interface StoreKind {
  readonly engine: 'MergeTree' | 'ReplicatedMergeTree' | 'SharedMergeTree' | 'Distributed'
  /** Equal for two addresses that lead to the same rows. */
  readonly same: string
  /** Also a single address that is reached again knows its rows by this alone; false: only that server has them. */
  readonly isShared: boolean
  /**
   * A scalar subquery: 0 where the replica that answers has all that any replica has acknowledged. Scalar subqueries are
   * computed first, so rows that are missing beside a 0 are missing everywhere. Undefined: there is nothing to wait for.
   */
  readonly behind: string | undefined
  /** Of inserts. */
  readonly settings: Settings
  /** Of counts. */
  readonly reading: Settings
  /** Every insert is synced to disk, so that an acknowledged one outlives power loss. */
  readonly syncs: boolean
}

/** One server has the rows, all of them. */
const PLAIN: StoreKind = {
  engine: 'MergeTree',
  same: '',
  isShared: false,
  behind: undefined,
  settings: {},
  reading: {},
  syncs: true,
}

/** Throws START_FAILED where the table cannot keep what `deliver` promises. */
export async function identify(connection: Connection, target: Target): Promise<StoreKind> {
  const { data } = await connection.rows(
    'SELECT engine, engine_full, toString(uuid), toString(serverUUID()) FROM system.tables WHERE database = {database:String} AND name = {table:String}',
    { database: target.database, table: target.tracesName },
  )
  const [engine, full, uuid, server] = (data[0] ?? []) as string[]
  if (engine === undefined || full === undefined) {
    throw retry('START_FAILED', `clickhouse: there is no table ${target.traces}`)
  }
  const syncs = /fsync_after_insert = (1|true)/.test(full)
  const base = { isShared: true, behind: undefined, settings: {}, reading: {}, syncs }
  if (engine === 'MergeTree') return { ...PLAIN, same: `${server}/${uuid}`, syncs }
  if (engine === 'ReplicatedMergeTree') {
    const same = await keeperPath(connection, target)
    const behind = lagQuery('system.replicas', target.database, target.tracesName)
    return { ...base, engine, same, behind }
  }
  // The newest metadata is read from Keeper, and data lie in storage that all replicas share.
  if (engine === 'SharedMergeTree') {
    return {
      ...base,
      engine,
      same: `shared ${uuid}`,
      reading: { select_sequential_consistency: 1 },
      syncs: true,
    }
  }
  if (engine === 'Distributed') return { ...base, engine, ...distributed(full, target) }
  throw reject(
    'START_FAILED',
    `clickhouse: ${target.traces} has the engine ${engine}: spans want MergeTree, ReplicatedMergeTree, SharedMergeTree or Distributed`,
  )
}

async function keeperPath(connection: Connection, target: Target): Promise<string> {
  const { data } = await connection
    .rows(
      'SELECT zookeeper_name, zookeeper_path FROM system.replicas WHERE database = {database:String} AND table = {table:String}',
      { database: target.database, table: target.tracesName },
    )
    .catch((error: unknown) => {
      if (codeOf(error) !== ACCESS_DENIED) throw error
      throw reject(
        'START_FAILED',
        `clickhouse: ${messageOf(error)}: GRANT SELECT ON system.replicas to weir's user: it tells whether a replica lags`,
        { cause: error },
      )
    })
  const [name, path] = (data[0] ?? []) as string[]
  return `keeper ${name}:${path}`
}

const ACCESS_DENIED = '497'

/**
 * A row of system.replicas has caught up when it has pulled the whole log and fetched every insert in it. The log's end is
 * read from Keeper when it is asked for.
 */
function lagQuery(replicas: string, database: string, table: string): string {
  return (
    '(SELECT countIf(is_readonly OR is_session_expired OR log_pointer <= log_max_index OR inserts_in_queue > 0) + (count() = 0) ' +
    `FROM ${replicas} WHERE database = ${quoteText(database)} AND table = ${quoteText(table)})`
  )
}

/** `Distributed('cluster', 'database', 'table', shardingKey)`. */
function distributed(full: string, target: Target) {
  const match = /^Distributed\('([^']*)', '([^']*)', '([^']*)'(?:, (.*?))?\)(?: SETTINGS .*)?$/s.exec(full)
  const [, cluster, database, table, key] = match ?? []
  if (cluster === undefined || database === undefined || table === undefined) {
    throw reject('START_FAILED', `clickhouse: ${target.traces}: not understood: ${full}`)
  }
  if (key !== undefined && /\b(rand|generate|now|uuid)\w*\(/i.test(key)) {
    throw reject(
      'START_FAILED',
      `clickhouse: ${target.traces} is sharded by ${key}: a repeated insert would be cut differently; shard by a function of the row, such as cityHash64(TraceId)`,
    )
  }
  // Local shards that are not replicated have no row there: nothing to wait for, so no `count() = 0`.
  const replicas = `clusterAllReplicas(${quoteText(cluster)}, system.replicas)`
  return {
    same: `distributed ${cluster}/${database}/${table}`,
    behind: lagQuery(replicas, database, table).replace(' + (count() = 0)', ''),
    // Else the answer only says that one server keeps the rows in a file, to send them later.
    settings: { distributed_foreground_insert: 1 },
  }
}
