import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { config as clickhouseConfig } from '../exporters/clickhouse/config.ts'
import { openEmbedded } from '../exporters/clickhouse/embedded.ts'
import { clickhouse } from '../exporters/clickhouse/factory.ts'
import type { Cutoffs } from '../pipeline/retention.ts'
import { exporterContext } from '../test/contract/exporter.ts'

/**
 * Rows/s that retention deletes from embedded ClickHouse: whole days (partitions are dropped), and one tenant of ten whose time
 * is shorter (parts are rewritten). `node dist/bench/retention.bench.js [ROWS]` after a build (default 1,000,000 in four days, prompts of
 * 600 bytes). The issue asks for 10,000 rows/s.
 */
const ROWS = Number(process.argv[2] ?? 1_000_000)
const DAY_MS = 86_400_000
const DAYS = 4
const FIRST = Date.UTC(2026, 7, 1)
const SHORT = 't0'
const NEVER = new AbortController().signal

const FILL = `INSERT INTO weir.otel_traces
  (Timestamp, TraceId, SpanId, SpanName, ServiceName, SpanAttributes, TenantId, Operation, EventId, WalSeq, WalRow)
  SELECT fromUnixTimestamp64Milli(toInt64(${FIRST} + intDiv(number * ${DAYS * DAY_MS}, ${ROWS}))), hex(sipHash128(intDiv(number, 16))), hex(sipHash64(number)),
   'chat gpt-4o', 'shop', map('gen_ai.prompt', randomPrintableASCII(600)), 't' || toString(intDiv(number, 16) % 10),
   'chat', reinterpretAsFixedString(sipHash128(number)), intDiv(number, 1000), number % 1000
  FROM numbers(${ROWS}) SETTINGS throw_on_max_partitions_per_insert_block = 0`

const allBefore = (day: number): Cutoffs => {
  const ms = FIRST + day * DAY_MS
  return { of: () => ms, latestMs: ms, earliestMs: ms }
}

/** The first day is over for all, all days for one tenant. */
const SHORTER: Cutoffs = {
  of: (tenant) => FIRST + (tenant === SHORT ? DAYS : 1) * DAY_MS,
  latestMs: FIRST + DAYS * DAY_MS,
  earliestMs: FIRST + DAY_MS,
}

async function run(): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'weir-retention-bench-'))
  const maker = await clickhouse.load()
  const exporter = maker.create(clickhouseConfig.parse({ directory }), exporterContext('clickhouse'))
  await exporter.start?.()
  const memory = { markCacheBytes: 1 << 26, maxMemoryBytes: 2 ** 31 }
  const connection = await openEmbedded({ directory, database: 'weir', ...memory })
  await connection.command(FILL)
  const count = async (): Promise<number> =>
    Number((await connection.rows('SELECT count() FROM weir.otel_traces', {}, NEVER)).data[0]?.[0])
  const expire = async (name: string, cutoffs: Cutoffs): Promise<void> => {
    const before = await count()
    const begun = performance.now()
    let told = 0
    for await (const { items } of exporter.retainable?.expire(cutoffs, NEVER) ?? []) told += items
    const seconds = (performance.now() - begun) / 1000
    const gone = before - (await count())
    if (gone !== told) throw new Error(`${name}: ${told} rows were told, ${gone} are gone`)
    process.stdout.write(
      `${name.padEnd(40)}${gone} of ${before} rows in ${seconds.toFixed(2)} s: ${Math.round(gone / seconds)} rows/s of ${Math.round(before / seconds)} gone through\n`,
    )
  }
  try {
    await expire('whole days: partitions dropped', allBefore(1))
    await expire('one tenant of ten: parts rewritten', SHORTER)
    await expire('the rest: partitions dropped', allBefore(DAYS))
    await expire('nothing to do', allBefore(DAYS))
  } finally {
    await connection.close()
    await exporter.stop?.(NEVER)
    rmSync(directory, { recursive: true, force: true })
  }
}

await run()
