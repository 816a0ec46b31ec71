import { Agent } from 'node:https'
import { Readable } from 'node:stream'
import { createClient, ClickHouseLogLevel, type ClickHouseClient } from '@clickhouse/client'
import { clientContextOptions } from '../../pipeline/net/client-tls.ts'
import { quoteText } from '../../proto/clickhouse/native.ts'
import type { Config } from './config.ts'
import {
  selectRows,
  settingsClause,
  type Connection,
  type Insert,
  type Params,
  type Reader,
  type Settings,
} from './connection.ts'

export interface ServerOptions {
  readonly url: string
  readonly username: string
  readonly password: string
  readonly database: string
  readonly timeoutMs: number
  readonly compress: Config['compress']
  readonly tls: Config['tls']
}

/** A ClickHouse server by its HTTP interface. */
export async function openServer(options: ServerOptions): Promise<Connection> {
  const shared = {
    url: options.url,
    username: options.username,
    password: options.password,
    application: 'weir',
    request_timeout: options.timeoutMs,
    // Level 1 takes a third of the default's CPU for a tenth more bytes.
    compression: { request: options.compress !== 'none' && { codec: options.compress, level: 1 } },
    log: { level: ClickHouseLogLevel.OFF },
    ...(await agentOf(options.url, options.tls)),
  }
  // Users write unqualified names; our own statements qualify theirs, and some precede the database.
  return new Server(createClient(shared), createClient({ ...shared, database: options.database }))
}

async function agentOf(url: string, tls: Config['tls']) {
  if (tls === undefined || !url.startsWith('https:')) return {}
  return {
    http_agent: new Agent({
      keepAlive: true,
      ...(await clientContextOptions(tls)),
      rejectUnauthorized: !tls.insecure_skip_verify,
      ...(tls.server_name_override !== undefined && { servername: tls.server_name_override }),
    }),
  }
}

class Server implements Connection {
  readonly #client: ClickHouseClient
  readonly #users: ClickHouseClient

  constructor(client: ClickHouseClient, users: ClickHouseClient) {
    this.#client = client
    this.#users = users
  }

  async command(sql: string): Promise<void> {
    await this.#client.command({ query: sql })
  }

  rows(sql: string, params: Params, signal?: AbortSignal) {
    return selectRows(this.#client, sql, params, signal === undefined ? {} : { abort_signal: signal })
  }

  /** The block is the request's body, which the server reads as data only. */
  async insert(insert: Insert, signal: AbortSignal): Promise<void> {
    const result = await this.#client.exec({
      query: `${insert.into} ${settingsClause(insert.settings, quoteText)} FORMAT Native`,
      values: Readable.from(insert.parts, { objectMode: false }),
      abort_signal: signal,
      clickhouse_settings: { wait_end_of_query: 1 },
    })
    for await (const _ of result.stream) void _
  }

  reader(settings: Settings): Promise<Reader> {
    return Promise.resolve({
      rows: (sql, params, signal) =>
        selectRows(this.#users, sql, params, { abort_signal: signal, clickhouse_settings: { ...settings } }),
      close: () => Promise.resolve(),
    })
  }

  async close(): Promise<void> {
    await Promise.all([this.#client.close(), this.#users.close()])
  }
}
