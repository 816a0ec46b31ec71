import { mkdir } from 'node:fs/promises'
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createClient, ClickHouseLogLevel, type ClickHouseClient } from '@clickhouse/client'
import { messageOf, reject } from '../../pipeline/fault.ts'
import { quoteName, quoteText } from '../../proto/clickhouse/native.ts'
import {
  selectRows,
  settingsClause,
  type Connection,
  type Insert,
  type Reader,
  type Settings,
} from './connection.ts'
import { Spool } from './spool.ts'

export interface EmbeddedOptions {
  readonly directory: string
  readonly database: string
  readonly markCacheBytes: number
  readonly maxMemoryBytes: number
}

/** What the process has of a data directory; chdb binds one per process, several exporters may share it. */
interface Engine {
  readonly connect: () => ClickHouseClient
  readonly anchor: { close(): void }
  readonly spool: Spool
  users: number
}

const engines = new Map<string, Promise<Engine>>()

/**
 * ClickHouse in this process (npm `chdb`): one data directory per process, never in a worker thread (design section 1).
 * One session serialises its statements, so inserts, our own reads and each user query have sessions of their own.
 */
export async function openEmbedded(options: EmbeddedOptions): Promise<Connection> {
  const directory = resolve(options.directory)
  let opening = engines.get(directory)
  if (opening === undefined) {
    opening = startEngine(directory, options)
    engines.set(directory, opening)
    opening.catch(() => engines.delete(directory))
  }
  const engine = await opening
  engine.users++
  return new Embedded(engine, options.database, () => release(directory, engine))
}

async function startEngine(directory: string, options: EmbeddedOptions): Promise<Engine> {
  const chdb = await load()
  try {
    await mkdir(directory, { recursive: true })
    // The first session of a process starts the engine: only it can set what belongs to the server.
    const anchor = new chdb.Session(directory, { connectionArgs: serverArguments(options) })
    const connect = () => clientOf(chdb.createChdbConnection({ path: directory }))
    const spool = await Spool.open(directory).catch((error: unknown) => {
      anchor.close()
      throw error
    })
    return { connect, anchor, spool, users: 0 }
  } catch (error) {
    throw reject(
      'START_FAILED',
      `clickhouse: cannot open ${directory}: ${messageOf(error)}. Give a directory that weir may create and write; one process may use it at a time, and a process has one directory`,
      { cause: error },
    )
  }
}

async function release(directory: string, engine: Engine): Promise<void> {
  if (--engine.users > 0) return
  engines.delete(directory)
  engine.anchor.close()
  await engine.spool.remove()
}

async function load() {
  try {
    const [{ Session }, { createChdbConnection }] = await Promise.all([
      import('chdb'),
      import('chdb/connection'),
    ])
    return { Session, createChdbConnection }
  } catch (error) {
    throw reject(
      'START_FAILED',
      `clickhouse: embedded ClickHouse needs the npm package chdb: \`npm i chdb\` (Linux with glibc, macOS), or set \`endpoint\` to a server's HTTP address, e.g. http://127.0.0.1:8123 (${messageOf(error)})`,
      { cause: error },
    )
  }
}

type ChdbConnection = ReturnType<Awaited<ReturnType<typeof load>>['createChdbConnection']>

/** chdb implements the contract of @clickhouse/client-common; the client bundles a copy of it under another name. */
function clientOf(connection: ChdbConnection): ClickHouseClient {
  return createClient({ connection: connection as never, log: { level: ClickHouseLogLevel.OFF } })
}

/** chdb's own defaults reserve caches of 5 GiB each and as many merge threads as a server (notes: 5.4 GB mark cache). */
function serverArguments(options: EmbeddedOptions): string[] {
  const { markCacheBytes, maxMemoryBytes } = options
  return [
    `--config-file=${fileURLToPath(new URL('embedded.xml', import.meta.url))}`,
    `--mark_cache_size=${markCacheBytes}`,
    `--primary_index_cache_size=${markCacheBytes}`,
    `--index_mark_cache_size=${markCacheBytes}`,
    `--max_server_memory_usage=${maxMemoryBytes}`,
    '--background_pool_size=2',
    '--background_fetches_pool_size=1',
    '--background_move_pool_size=1',
    '--background_common_pool_size=1',
    // A merge takes one core for half a minute; meanwhile inserts took twice their time (measured). Not lower: it must keep up.
    '--os_threads_nice_value_merge_mutate=5',
  ]
}

/**
 * The filters over map keys hash every key of every span (a quarter of an insert, measured) and tell little while parts
 * are small: merges build them. Not for a server, which may not know the setting.
 */
const FRESH_PARTS: Settings = {
  exclude_materialize_skip_indexes_on_insert: 'idx_res_attr_key, idx_span_attr_key',
}

/**
 * A count finds its few granules among all parts. Where the indexes are read beside the data, a reader is made for each part:
 * 27 against 13 ms with 24 parts, 63 against 22 with 72 (measured). Not for a server, which may not know the setting.
 */
const COUNTING: Settings = { max_threads: 1, use_skip_indexes_on_data_read: 0 }

class Embedded implements Connection {
  readonly counting = COUNTING
  readonly #engine: Engine
  readonly #database: string
  readonly #release: () => Promise<void>
  readonly #writes: ClickHouseClient
  readonly #reads: ClickHouseClient

  constructor(engine: Engine, database: string, release: () => Promise<void>) {
    this.#engine = engine
    this.#database = database
    this.#release = release
    this.#writes = engine.connect()
    this.#reads = engine.connect()
  }

  async command(sql: string): Promise<void> {
    await this.#writes.command({ query: sql })
  }

  rows(sql: string, params: Readonly<Record<string, unknown>>, signal?: AbortSignal) {
    return selectRows(this.#reads, sql, params as never, signal === undefined ? {} : { abort_signal: signal })
  }

  /**
   * The block goes by file: inline data ends at the first blank line and what follows is executed as SQL (measured).
   * Resolves when the statement has ended, even past an abort: the engine cannot be interrupted, and a repeat must not overtake it.
   */
  async insert(insert: Insert): Promise<void> {
    const { spool } = this.#engine
    const block = spool.write(insert.parts)
    try {
      const settings = settingsClause({ ...insert.settings, ...FRESH_PARTS }, quoteText)
      const source = `file(${quoteText(block.path)}, Native, ${quoteText(insert.structure)})`
      await this.#writes.command({ query: `${insert.into} SELECT * FROM ${source} ${settings}` })
    } catch (error) {
      await spool.discard(block)
      throw error
    }
    await spool.release(block)
  }

  /** A session that lives for one query: what is SET on it cannot reach another, and the query's text cannot precede it. */
  async reader(settings: Settings): Promise<Reader> {
    const client = this.#engine.connect()
    try {
      await client.command({ query: `USE ${quoteName(this.#database)}` })
      const items = settingsClause(settings, quoteText)
      if (items !== '') await client.command({ query: items.replace(/^SETTINGS/, 'SET') })
    } catch (error) {
      await client.close()
      throw error
    }
    return {
      rows: (sql, params, signal) => selectRows(client, sql, params, { abort_signal: signal }),
      close: () => client.close(),
    }
  }

  async close(): Promise<void> {
    await this.#writes.close()
    await this.#reads.close()
    await this.#release()
  }
}
