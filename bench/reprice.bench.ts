import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { config as clickhouseConfig } from '../exporters/clickhouse/config.ts'
import { openEmbedded } from '../exporters/clickhouse/embedded.ts'
import { clickhouse } from '../exporters/clickhouse/factory.ts'
import type { Reprice, RepricedModel, RepriceRequest, RepriceResult } from '../pipeline/reprice.ts'
import { createMeter } from '../pipeline/telemetry/prom-meter.ts'
import { NO_USAGE } from '../pipeline/usage/usage.ts'
import { config as costConfig } from '../processors/cost/config.ts'
import { CostProcessor } from '../processors/cost/cost.ts'
import { exporterContext } from '../test/contract/exporter.ts'

const clickhouseMaker = await clickhouse.load()

/**
 * New prices over stored calls, embedded: `node dist/bench/reprice.bench.js [ROWS]` after a build (default 1,000,000 in
 * two days, one span in two a model call's, every call of a different size, prompts of 600 bytes). Every cost changes.
 */
const ROWS = Number(process.argv[2] ?? 1_000_000)
const FIRST = Date.UTC(2026, 7, 1)
const DAY_MS = 86_400_000
const NEVER = new AbortController().signal

const FILL = `INSERT INTO weir.otel_traces
  (Timestamp, TraceId, SpanId, SpanName, ServiceName, SpanAttributes, TenantId, Operation, ModelCall, Provider, RequestModel, ResponseModel,
   InputTokens, CacheReadTokens, OutputTokens, CostStatus, EventId, WalSeq, WalRow)
  SELECT fromUnixTimestamp64Milli(toInt64(${FIRST} + intDiv(number * ${2 * DAY_MS}, ${ROWS}))), hex(sipHash128(intDiv(number, 16))), hex(sipHash64(number)),
   ['chat gpt-4o', 'execute_tool search'][1 + number % 2], 'shop', map('gen_ai.prompt', randomPrintableASCII(600)), 't' || toString(number % 20),
   ['chat', 'execute_tool'][1 + number % 2], number % 2 = 0, 'openai', 'gpt-4o', ['gpt-4o', 'gpt-4o-mini', 'gpt-5'][1 + number % 3],
   sipHash64(number) % 20000, number % 5000, number % 2000, 'none', reinterpretAsFixedString(sipHash128(number)), intDiv(number, 1000), number % 1000
  FROM numbers(${ROWS}) SETTINGS throw_on_max_partitions_per_insert_block = 0`

async function run(): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'weir-reprice-bench-'))
  const exporter = clickhouseMaker.create(
    clickhouseConfig.parse({ directory }),
    exporterContext('clickhouse'),
  )
  await exporter.start?.()
  const connection = await openEmbedded({
    directory,
    database: 'weir',
    markCacheBytes: 1 << 26,
    maxMemoryBytes: 2 ** 31,
  })
  await connection.command(FILL)
  const processor = new CostProcessor(costConfig.parse({}), { meter: createMeter(), usage: NO_USAGE })
  await processor.start()
  const reprice = async (name: string, dryRun: boolean): Promise<void> => {
    const started = performance.now()
    let pricing = 0
    const price: Reprice = (calls) => {
      const before = performance.now()
      processor.reprice(calls)
      pricing += performance.now() - before
    }
    const models: RepricedModel[] = []
    let requests = 0
    for (let fromMs: number | undefined = FIRST; fromMs !== undefined; requests++) {
      const request: RepriceRequest = { fromMs, toMs: FIRST + 2 * DAY_MS, dryRun, budgetMs: 30_000 }
      const answer: RepriceResult | undefined = await exporter.repriceable?.reprice(request, price, NEVER)
      models.push(...(answer?.models ?? []))
      fromMs = answer?.nextMs
    }
    const seconds = (performance.now() - started) / 1000
    const calls = models.reduce((sum, model) => sum + model.calls, 0)
    const changed = models.reduce((sum, model) => sum + model.changed, 0)
    process.stdout.write(
      `${name.padEnd(10)}${ROWS} rows, ${calls} calls, ${changed} changed: ${seconds.toFixed(1)} s in ${requests} requests, pricing ${(pricing / 1000).toFixed(2)} s, RSS ${Math.round(process.memoryUsage().rss / 1e6)} MB\n`,
    )
  }
  await reprice('dry run', true)
  await reprice('rewrite', false)
  await reprice('again', false)
  await connection.close()
  await exporter.stop?.(NEVER)
  rmSync(directory, { recursive: true, force: true })
}

await run()
