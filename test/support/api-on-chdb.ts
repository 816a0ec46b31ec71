import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createClient } from '@clickhouse/client'
import { createChdbConnection } from 'chdb/connection'
import type { Io, Verb } from '../../cmd/verb.ts'
import { config as clickhouseConfig } from '../../exporters/clickhouse/config.ts'
import { clickhouse } from '../../exporters/clickhouse/factory.ts'
import type { Batch } from '../../pipeline/batch/batch.ts'
import { ApiExtension } from '../../extensions/api/api.ts'
import { config } from '../../extensions/api/config.ts'
import { extensionContext, stubHost } from './extension-context.ts'

const clickhouseMaker = await clickhouse.load()

export const ADMIN = 'admin-token-0123456789'
export const ACME = 'acme-token-0123456789'
/** An administrator, and somebody who reads as the tenant acme. */
export const TOKENS = [
  { token: ADMIN, role: 'admin' },
  { token: ACME, role: 'read', tenant: 'acme' },
]

export interface ApiOnChdb {
  readonly url: string
  /** Runs a statement as nobody but a test may. */
  exec(sql: string): Promise<void>
  store(batch: Batch): Promise<void>
  /** Runs a verb against the API. */
  verb(
    verb: Verb,
    argv: readonly string[],
    io?: Partial<Io>,
  ): Promise<{ code: number; out: string; err: string }>
  stop(): Promise<void>
}

/** The API extension over the clickhouse exporter with embedded ClickHouse, as a daemon joins them, without the daemon. */
export async function apiOnChdb(options: Record<string, unknown> = {}): Promise<ApiOnChdb> {
  const home = mkdtempSync(join(tmpdir(), 'weir-verbs-'))
  const directory = join(home, 'clickhouse')
  const { context, close } = extensionContext('api')
  const exporter = clickhouseMaker.create(clickhouseConfig.parse({ directory }), {
    ...context,
    kind: 'exporter',
  })
  await exporter.start?.()
  const { queryable } = exporter
  if (queryable === undefined) throw new Error('the clickhouse exporter cannot be queried')
  const parsed = config.parse({ endpoint: '127.0.0.1:0', ...options })
  const query = queryable.query.bind(queryable)
  const api = new ApiExtension(parsed, context, stubHost({ query }))
  await api.start()
  const url = `http://${api.address}`
  return {
    url,
    exec: (sql) => execute(directory, sql),
    store: async (batch) => void (await exporter.consume(batch, new AbortController().signal)),
    verb: (verb, argv, io = {}) => runVerb(verb, [...argv, '--endpoint', url], io),
    stop: async () => {
      await api.stop(AbortSignal.timeout(1000))
      await exporter.stop?.(AbortSignal.timeout(10_000))
      await close()
      rmSync(home, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
    },
  }
}

async function execute(directory: string, sql: string): Promise<void> {
  const client = createClient({ connection: createChdbConnection({ path: directory }) } as object)
  try {
    await client.command({ query: sql })
  } finally {
    await client.close()
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
