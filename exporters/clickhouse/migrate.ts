import { readdir, readFile } from 'node:fs/promises'
import { messageOf, reject } from '../../pipeline/fault.ts'
import type { Log } from '../../pipeline/telemetry/log.ts'
import { quoteName } from '../../proto/clickhouse/native.ts'
import type { Connection } from './connection.ts'
import { withNames, type Target } from './target.ts'

interface Migration {
  readonly version: number
  readonly name: string
  readonly statements: readonly string[]
}

const FOLDER = new URL('migrations/', import.meta.url)

/**
 * Applies what is not recorded yet. Daemons may race: every statement is idempotent (IF NOT EXISTS, OR REPLACE, MODIFY
 * to the same), so whoever comes second changes nothing, and a record written twice says the same.
 */
export async function migrate(connection: Connection, target: Target, log: Log): Promise<void> {
  const history = `${quoteName(target.database)}.${quoteName(`${target.tracesName}_migrations`)}`
  await connection.command(`CREATE DATABASE IF NOT EXISTS ${quoteName(target.database)}`)
  await connection.command(
    `CREATE TABLE IF NOT EXISTS ${history} (Version UInt32, Name String, AppliedAt DateTime) ENGINE = MergeTree ORDER BY Version`,
  )
  const { data } = await connection.rows(`SELECT DISTINCT Version FROM ${history}`, {})
  const applied = new Set(data.map(([version]) => Number(version)))
  for (const migration of await migrations()) {
    if (applied.has(migration.version)) continue
    for (const statement of migration.statements)
      await apply(connection, withNames(statement, target), migration)
    await connection.command(
      `INSERT INTO ${history} SELECT ${migration.version}, '${migration.name}', now() SETTINGS async_insert = 0`,
    )
    log.info({ migration: migration.name }, 'clickhouse: schema migrated')
  }
}

/** Of two ALTERs of one table at once, ClickHouse may refuse one: TABLE_WAS_NOT_DROPPED, TIMEOUT_EXCEEDED, CANNOT_ASSIGN_ALTER. */
const RACED = new Set(['57', '159', '473', '517', '529'])
const TRIES = 8

async function apply(connection: Connection, sql: string, migration: Migration): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await connection.command(sql)
      return
    } catch (error) {
      const code = (error as { code?: unknown }).code
      if (attempt < TRIES && typeof code === 'string' && RACED.has(code)) {
        await pause(50 * attempt * (1 + Math.random()))
        continue
      }
      throw reject('START_FAILED', `clickhouse: migration ${migration.name}: ${messageOf(error)}`, {
        cause: error,
      })
    }
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

/** `NNNN_name.sql`, in order; statements end with `;` at a line's end. */
export async function migrations(): Promise<Migration[]> {
  const files = (await readdir(FOLDER)).filter((file) => /^\d{4}_\w+\.sql$/.test(file)).sort()
  return await Promise.all(
    files.map(async (file) => ({
      version: Number(file.slice(0, 4)),
      name: file.slice(0, -'.sql'.length),
      statements: statementsOf(await readFile(new URL(file, FOLDER), 'utf8')),
    })),
  )
}

function statementsOf(sql: string): string[] {
  return sql
    .replace(/^--.*$/gm, '')
    .split(/;\s*$/m)
    .map((statement) => statement.trim())
    .filter((statement) => statement !== '')
}
