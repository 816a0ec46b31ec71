import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Session } from 'chdb'
import { afterAll, expect, test } from 'vitest'
import {
  exporterContext,
  exporterContract,
  RECEIVED_AT_MS,
  testBatch,
  testDelivery,
} from '../../test/contract/exporter.ts'
import { config } from './config.ts'
import { clickhouse } from './factory.ts'

const clickhouseMaker = await clickhouse.load()

// One data directory per process; a database per case.
const directory = mkdtempSync(join(tmpdir(), 'weir-exporter-'))
afterAll(() => rmSync(directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 }))

let databases = 0

exporterContract({
  name: 'clickhouse, embedded',
  exactlyOnce: true,
  make: () => {
    const database = `weir_${++databases}`
    const exporter = clickhouseMaker.create(
      config.parse({ directory, database }),
      exporterContext('clickhouse'),
    )
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

const settings = async (durability: string) => {
  const database = `weir_${durability}`
  const exporter = clickhouseMaker.create(
    config.parse({ directory, database, durability, ttl: '720h' }),
    exporterContext('clickhouse'),
  )
  await exporter.start?.()
  const session = new Session(directory)
  try {
    const sql = `SELECT name, create_table_query FROM system.tables WHERE database = '${database}' AND engine = 'MergeTree'`
    const { data } = (await session.queryAsync(sql, { format: 'JSONCompact' })).json<{ data: string[][] }>()
    return Object.fromEntries(data.map(([name = '', ddl = '']) => [name.replace('otel_traces', ''), ddl]))
  } finally {
    session.close()
    await exporter.stop?.(new AbortController().signal)
  }
}

test('strict tables sync every insert and merge, others do not; both remember tokens and know the TTL', async () => {
  const strict = await settings('strict')
  for (const table of ['', '_trace_id_ts']) {
    expect(strict[table]).toMatch(
      /fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1/,
    )
    expect(strict[table]).toContain('toIntervalSecond(2592000)')
  }
  expect(strict['']).toContain('non_replicated_deduplication_window = 10000')
  const process = await settings('process')
  expect(process['']).toMatch(
    /fsync_after_insert = 0, fsync_part_directory = 0, min_rows_to_fsync_after_merge = 0/,
  )
})

test('embedded ClickHouse refuses the database where unknown tables are files', () => {
  expect(config.safeParse({ database: 'default' }).success).toBe(false)
  expect(config.safeParse({ database: 'default', endpoint: 'http://127.0.0.1:8123' }).success).toBe(true)
  expect(config.safeParse({ ttl: '876000h' }).success).toBe(false)
})

test('new parts are compressed fast in one file, large merged ones well and by column; a codec that the owner chose stays', async () => {
  const database = 'weir_codecs'
  const exporter = clickhouseMaker.create(
    config.parse({ directory, database }),
    exporterContext('clickhouse'),
  )
  await exporter.start?.()
  const session = new Session(directory)
  const ask = async (sql: string) =>
    (await session.queryAsync(sql, { format: 'JSONCompact' })).json<{ data: unknown[][] }>().data
  const codecs = `SELECT name, compression_codec FROM system.columns WHERE database = '${database}' AND table = 'otel_traces' AND name IN ('Timestamp', 'TraceId', 'EventId', 'UserId') ORDER BY name`
  const parts = `SELECT default_compression_codec, part_type FROM system.parts WHERE database = '${database}' AND table = 'otel_traces' AND active`
  try {
    await session.queryAsync(`ALTER TABLE ${database}.otel_traces MODIFY COLUMN UserId CODEC(ZSTD(3))`)
    await exporter.stop?.(new AbortController().signal)
    await exporter.start?.()
    expect(await ask(codecs)).toEqual([
      ['EventId', 'CODEC(NONE)'],
      ['Timestamp', 'CODEC(Delta(8), Default)'],
      ['TraceId', 'CODEC(Default)'],
      ['UserId', 'CODEC(ZSTD(3))'],
    ])
    for (let i = 0; i < 2; i++) {
      // Random text hardly compresses: 40 MiB each.
      await session.queryAsync(
        `INSERT INTO ${database}.otel_traces (Timestamp, StatusMessage) SELECT toDateTime64('2026-06-01 00:00:00', 9), randomPrintableASCII(4096, number) FROM numbers(10240)`,
      )
    }
    expect(await ask(parts)).toEqual([
      ['LZ4', 'Compact'],
      ['LZ4', 'Compact'],
    ])
    await session.queryAsync(`OPTIMIZE TABLE ${database}.otel_traces FINAL`)
    expect(await ask(parts)).toEqual([['ZSTD(1)', 'Wide']])
  } finally {
    session.close()
    await exporter.stop?.(new AbortController().signal)
  }
})

test('a merge waits for some forty new parts', async () => {
  const database = 'weir_merges'
  const exporter = clickhouseMaker.create(
    config.parse({ directory, database }),
    exporterContext('clickhouse'),
  )
  await exporter.start?.()
  const session = new Session(directory)
  const merged = async () => {
    const sql = `SELECT rows FROM system.parts WHERE database = '${database}' AND table = 'otel_traces' AND active AND level > 0`
    return (await session.queryAsync(sql, { format: 'JSONCompact' })).json<{ data: unknown[][] }>().data
  }
  try {
    for (let i = 0; i < 60; i++) {
      await session.queryAsync(
        `INSERT INTO ${database}.otel_traces (Timestamp, WalSeq) VALUES ('2026-06-01 00:00:00', ${i})`,
      )
    }
    // One row each: the rows of a merged part tell how many parts it was.
    await expect.poll(merged).not.toEqual([])
    const [[rows] = []] = await merged()
    expect(Number(rows)).toBeGreaterThanOrEqual(40)
  } finally {
    session.close()
    await exporter.stop?.(new AbortController().signal)
  }
})

test('what comes in any order is in the order of the key when ClickHouse gets it', async () => {
  const exporter = clickhouseMaker.create(
    config.parse({ directory, database: 'weir_sorted' }),
    exporterContext('clickhouse'),
  )
  const signal = new AbortController().signal
  await exporter.start?.()
  const session = new Session(directory)
  const sorted = async () => {
    const sql = `SELECT sum(value) FROM system.events WHERE event = 'MergeTreeDataWriterBlocksAlreadySorted'`
    const { data } = (await session.queryAsync(sql, { format: 'JSONCompact' })).json<{ data: unknown[][] }>()
    return Number(data[0]?.[0])
  }
  try {
    const before = await sorted()
    // Without trace ids nothing goes into the look-up by them, whose order is its own.
    const batches = ['pay', 'cart', 'pay', 'Zoo', 'é', 'e'].map((service, seq) =>
      testBatch(
        ['b', 'a', 'ab', '', 'b', 'a'].map((name, i) => ({
          traceId: '',
          name,
          startTimeUnixNano: `${RECEIVED_AT_MS - i}000000`,
        })),
        { wal: { seq, row: 0 } },
        { attributes: [{ key: 'service.name', value: { stringValue: service } }] },
      ),
    )
    await exporter.deliver?.(testDelivery(batches), signal)
    expect((await sorted()) - before).toBe(1)
  } finally {
    session.close()
    await exporter.stop?.(signal)
  }
})
