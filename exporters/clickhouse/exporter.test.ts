import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'
import { exporterContext, exporterContract } from '../../test/contract/exporter.ts'
import { config } from './config.ts'
import { clickhouse } from './factory.ts'

// One data directory per process; a database per case.
const directory = mkdtempSync(join(tmpdir(), 'weir-exporter-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

let databases = 0

exporterContract({
  name: 'clickhouse, embedded',
  exactlyOnce: true,
  make: () => {
    const database = `weir_${++databases}`
    const exporter = clickhouse.create(config.parse({ directory, database }), exporterContext('clickhouse'))
    const query = { params: {}, maxRows: 1000, maxBytes: 1 << 20, timeoutMs: 10_000 }
    return Promise.resolve({
      exporter,
      stored: async () => {
        const answer = await exporter.queryable?.query(
          { sql: 'SELECT SpanId FROM otel_traces', ...query },
          new AbortController().signal,
        )
        return answer?.rows.map(([id]) => id as string) ?? []
      },
      close: () => Promise.resolve(),
    })
  },
})
