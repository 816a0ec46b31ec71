import type { ClickHouseClient, ClickHouseSettings } from '@clickhouse/client'
import type { StoreKind } from './store-kind.ts'

/** Values for `{name:Type}` in a statement. */
export type Params = Readonly<Record<string, string | number | boolean | readonly string[]>>

/** A result in JSONCompact: 64-bit integers and decimals as strings. */
export interface Answer {
  readonly meta: readonly { readonly name: string; readonly type: string }[]
  readonly data: readonly (readonly unknown[])[]
}

/** One insert of one Native block. */
export interface Insert {
  /** `INSERT INTO db.table (columns)`; what brings the data is the connection's affair. */
  readonly into: string
  /** The block's columns as a table function's structure. */
  readonly structure: string
  readonly parts: readonly Uint8Array[]
  /** Stands in the statement, never in the session (design law 6). */
  readonly settings: Settings
}

export type Settings = Readonly<Record<string, string | number | boolean>>

/**
 * ClickHouse, embedded or a server: one code path through @clickhouse/client. What differs is how a block gets in
 * (by file, by body) and where the settings of a user's query are set (a session of its own, the request).
 */
export interface Connection {
  command(sql: string): Promise<void>
  rows(sql: string, params: Params, signal?: AbortSignal): Promise<Answer>
  /** Resolves once ClickHouse has answered that it took the block; the rows are counted by the caller. */
  insert(insert: Insert, signal: AbortSignal): Promise<void>
  /** Of the counts after an insert. */
  readonly counting?: Settings
  /** Reads with settings that the statement cannot change; closed by the caller. */
  reader(settings: Settings): Promise<Reader>
  /** Where several addresses are one store: looks at each, and from here on uses only those that lead to the same rows. */
  pin?(identify: (connection: Connection) => Promise<StoreKind>): Promise<StoreKind>
  close(): Promise<void>
}

export interface Reader {
  rows(sql: string, params: Params, signal: AbortSignal): Promise<Answer>
  close(): Promise<void>
}

/** Runs a SELECT; the client appends the FORMAT. */
export async function selectRows(
  client: ClickHouseClient,
  sql: string,
  params: Params,
  more: { abort_signal?: AbortSignal; clickhouse_settings?: ClickHouseSettings } = {},
): Promise<Answer> {
  const result = await client.query({
    query: sql,
    query_params: { ...params },
    format: 'JSONCompact',
    ...more,
  })
  return (await result.json()) as unknown as Answer
}

/** `SETTINGS a = 1, b = 'x'`. */
export function settingsClause(settings: Settings, quote: (text: string) => string): string {
  const items = Object.entries(settings).map(
    ([name, value]) => `${name} = ${typeof value === 'string' ? quote(value) : String(Number(value))}`,
  )
  return items.length === 0 ? '' : `SETTINGS ${items.join(', ')}`
}
