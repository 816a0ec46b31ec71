import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, open, rm, statfs } from 'node:fs/promises'
import { join, resolve } from 'node:path'
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

export interface EmbeddedOptions {
  readonly directory: string
  readonly database: string
  readonly markCacheBytes: number
  readonly maxMemoryBytes: number
}

/**
 * ClickHouse in this process (npm `chdb`): one data directory per process, never in a worker thread (design section 1).
 * One session serialises its statements, so inserts, our own reads and each user query have sessions of their own.
 */
export async function openEmbedded(options: EmbeddedOptions): Promise<Connection> {
  const chdb = await load()
  const directory = resolve(options.directory)
  await mkdir(directory, { recursive: true })
  let anchor: { close(): void }
  try {
    // The first session of a process starts the engine: only it can set what belongs to the server.
    anchor = new chdb.Session(directory, { connectionArgs: serverArguments(options) })
  } catch (error) {
    throw reject(
      'START_FAILED',
      `clickhouse: cannot open ${directory}: ${messageOf(error)}. One process may use it at a time, and a process has one directory`,
      { cause: error },
    )
  }
  const connect = () => clientOf(chdb.createChdbConnection({ path: directory }))
  return new Embedded(connect, anchor, await spoolDirectory(directory), options.database)
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
    `--mark_cache_size=${markCacheBytes}`,
    `--primary_index_cache_size=${markCacheBytes}`,
    `--index_mark_cache_size=${markCacheBytes}`,
    `--max_server_memory_usage=${maxMemoryBytes}`,
    '--background_pool_size=2',
    '--background_fetches_pool_size=1',
    '--background_move_pool_size=1',
    '--background_common_pool_size=1',
  ]
}

/**
 * Where blocks wait for ClickHouse to read them: memory, where the machine has it. We own the data directory, so what
 * lies in the folder named after it was left by a kill.
 */
async function spoolDirectory(directory: string): Promise<readonly string[]> {
  const disk = join(directory, 'weir-spool')
  const name = `weir-${createHash('sha256').update(directory).digest('hex').slice(0, 16)}`
  const folders = existsSync('/dev/shm') ? [join('/dev/shm', name), disk] : [disk]
  const usable: string[] = []
  for (const folder of folders) {
    try {
      await rm(folder, { recursive: true, force: true })
      await mkdir(folder, { mode: 0o700 })
      usable.push(folder)
    } catch (error) {
      if (folder === disk)
        throw reject('START_FAILED', `clickhouse: cannot write ${folder}: ${messageOf(error)}`)
    }
  }
  return usable
}

class Embedded implements Connection {
  readonly #connect: () => ClickHouseClient
  readonly #anchor: { close(): void }
  readonly #spool: readonly string[]
  readonly #writes: ClickHouseClient
  readonly #reads: ClickHouseClient
  readonly #database: string
  #files = 0

  constructor(
    connect: () => ClickHouseClient,
    anchor: { close(): void },
    spool: readonly string[],
    database: string,
  ) {
    this.#database = database
    this.#connect = connect
    this.#anchor = anchor
    this.#spool = spool
    this.#writes = connect()
    this.#reads = connect()
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
  async insert(insert: Insert): Promise<number> {
    const path = await this.#write(insert.parts)
    try {
      const settings = settingsClause(insert.settings, quoteText)
      const source = `file(${quoteText(path)}, Native, ${quoteText(insert.structure)})`
      const result = await this.#writes.command({
        query: `${insert.into} SELECT * FROM ${source} ${settings}`,
      })
      return Number(result.summary?.read_rows ?? 0)
    } finally {
      await rm(path, { force: true })
    }
  }

  async #write(parts: readonly Uint8Array[]): Promise<string> {
    const size = parts.reduce((sum, part) => sum + part.length, 0)
    const path = join(await this.#roomyFolder(size), `${++this.#files}.native`)
    const file = await open(path, 'wx', 0o600)
    try {
      for (let i = 0; i < parts.length; i += MAX_PARTS) {
        const some = parts.slice(i, i + MAX_PARTS)
        let left = some.reduce((sum, part) => sum + part.length, 0)
        const { bytesWritten } = await file.writev(some)
        left -= bytesWritten
        if (left > 0) await file.appendFile(rest(some, bytesWritten))
      }
    } catch (error) {
      await rm(path, { force: true })
      throw error
    } finally {
      await file.close()
    }
    return path
  }

  /** A container's /dev/shm is often 64 MB. */
  async #roomyFolder(size: number): Promise<string> {
    for (const folder of this.#spool.slice(0, -1)) {
      const { bavail, bsize } = await statfs(folder)
      if (bavail * bsize > size * 2) return folder
    }
    return this.#spool.at(-1) ?? ''
  }

  /** A session that lives for one query: what is SET on it cannot reach another, and the query's text cannot precede it. */
  async reader(settings: Settings): Promise<Reader> {
    const client = this.#connect()
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
    this.#anchor.close()
    for (const folder of this.#spool) await rm(folder, { recursive: true, force: true })
  }
}

/** Linux takes 1024 buffers per writev. */
const MAX_PARTS = 1000

function rest(parts: readonly Uint8Array[], written: number): Buffer {
  return Buffer.concat(parts).subarray(written)
}
