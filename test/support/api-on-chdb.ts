import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Session } from 'chdb'
import type { Io, Verb } from '../../cmd/verb.ts'
import { ApiExtension } from '../../extensions/api/api.ts'
import { config } from '../../extensions/api/config.ts'
import type { QueryResult } from '../../pipeline/component.ts'
import { reject } from '../../pipeline/fault.ts'
import type { Host } from '../../pipeline/host.ts'
import { extensionContext, stubHost } from './extension-context.ts'

export interface ApiOnChdb {
  readonly url: string
  readonly session: Session
  /** Runs a verb against the API. */
  verb(
    verb: Verb,
    argv: readonly string[],
    io?: Partial<Io>,
  ): Promise<{ code: number; out: string; err: string }>
  stop(): Promise<void>
}

const MIGRATIONS = new URL('../../exporters/clickhouse/migrations/', import.meta.url)

/** The API extension over embedded ClickHouse with weir's own tables and views, without a daemon around it. */
export async function apiOnChdb(options: Record<string, unknown> = {}): Promise<ApiOnChdb> {
  const home = mkdtempSync(join(tmpdir(), 'weir-verbs-'))
  const session = new Session(home)
  migrate(session)
  const { context, close } = extensionContext('api')
  const parsed = config.parse({ endpoint: '127.0.0.1:0', ...options })
  const api = new ApiExtension(parsed, context, stubHost({ query: queryOn(session) }))
  await api.start()
  const url = `http://${api.address}`
  return {
    url,
    session,
    verb: (verb, argv, io = {}) => runVerb(verb, [...argv, '--endpoint', url], io),
    stop: async () => {
      await api.stop(AbortSignal.timeout(1000))
      await close()
      session.cleanup()
      rmSync(home, { recursive: true, force: true })
    },
  }
}

function migrate(session: Session): void {
  const names: Readonly<Record<string, string>> = {
    database: 'weir',
    traces: 'weir.otel_traces',
    trace_id_ts: 'weir.otel_traces_trace_id_ts',
    trace_id_ts_mv: 'weir.otel_traces_trace_id_ts_mv',
  }
  session.query('CREATE DATABASE weir')
  for (const file of readdirSync(MIGRATIONS).sort()) {
    const text = readFileSync(new URL(file, MIGRATIONS), 'utf8').replace(/^--.*$/gm, '')
    const sql = text.replace(/\{\{(\w+)\}\}/g, (whole, name: string) => names[name] ?? whole)
    for (const statement of sql.split(/;\s*(?:\n|$)/)) if (statement.trim() !== '') session.query(statement)
  }
  session.query('USE weir')
  session.query('SET output_format_json_quote_64bit_integers = 1, output_format_json_quote_decimals = 1')
}

function queryOn(session: Session): Host['query'] {
  return async (request) => {
    try {
      const result = JSON.parse(session.queryBind(request.sql, request.params, 'JSONCompact')) as {
        meta: QueryResult['columns']
        data: unknown[][]
      }
      const rows = result.data.slice(0, request.maxRows)
      return { columns: result.meta, rows, truncated: rows.length < result.data.length, elapsedMs: 1 }
    } catch (error) {
      throw reject('QUERY_FAILED', (error as Error).message)
    }
  }
}

export async function runVerb(
  verb: Verb,
  argv: readonly string[],
  io: Partial<Io> = {},
): Promise<{ code: number; out: string; err: string }> {
  let out = ''
  let err = ''
  const code = await verb.run(argv, {
    out: (text) => void (out += text),
    err: (text) => void (err += text),
    env: {},
    tty: false,
    ...io,
  })
  return { code, out, err }
}
