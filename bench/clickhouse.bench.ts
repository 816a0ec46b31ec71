import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { SpanBlock } from '../exporters/clickhouse/block.ts'
import { config } from '../exporters/clickhouse/config.ts'
import { clickhouse } from '../exporters/clickhouse/factory.ts'
import { fill } from '../exporters/clickhouse/feed.ts'
import { SpanWriter } from '../exporters/clickhouse/span-writer.ts'
import type { Batch } from '../pipeline/batch/batch.ts'
import { decodeBatch } from '../pipeline/batch/otlp-batch.ts'
import type { Context } from '../pipeline/factory.ts'
import { factsOf } from '../pipeline/genai/facts-of.ts'
import { standardRequest } from './shape.ts'

const clickhouseMaker = await clickhouse.load()

/**
 * Rows/s and CPU-seconds per million rows of the way into embedded ClickHouse, on the standard shape:
 * scan, facts, transcode alone, and whole inserts with their merges. `node dist/bench/clickhouse.bench.js [rows per insert] [inserts]`.
 */
const REQUEST_SPANS = 512
const [rowsPerInsert = 65_536, inserts = 20] = process.argv.slice(2).map(Number)
const requestsPerInsert = Math.max(1, Math.round(rowsPerInsert / REQUEST_SPANS))

function batchesOf(requests: readonly Uint8Array[], firstSeq: number): Batch[] {
  return Array.from({ length: requestsPerInsert }, (_, i) =>
    decodeBatch(requests[i % requests.length] ?? new Uint8Array(), {
      signal: 'traces',
      tenant: 'default',
      project: 'bench',
      principal: '',
      source: 'bench',
      receivedAtMs: Date.now(),
      digest: new Uint8Array(16),
      wal: { seq: firstSeq + i, row: 0 },
    }),
  )
}

interface Mark {
  readonly time: bigint
  readonly cpu: NodeJS.CpuUsage
}

const mark = (): Mark => ({ time: process.hrtime.bigint(), cpu: process.cpuUsage() })

function report(name: string, rows: number, start: Mark): void {
  const seconds = Number(process.hrtime.bigint() - start.time) / 1e9
  const cpu = process.cpuUsage(start.cpu)
  const perMillion = (cpu.user + cpu.system) / rows
  const rss = Math.round(process.memoryUsage().rss / 1e6)
  process.stdout.write(
    `${name.padEnd(28)}${Math.round(rows / seconds)
      .toString()
      .padStart(9)} rows/s ${perMillion.toFixed(2).padStart(7)} CPU-s/M rows   RSS ${rss} MB\n`,
  )
}

function transcode(requests: readonly Uint8Array[]): void {
  const block = new SpanBlock()
  const writer = new SpanWriter(block)
  for (const name of ['warm-up', 'scan', 'facts', 'transcode']) {
    const rounds = 4
    const prepared = Array.from({ length: rounds }, () => batchesOf(requests, 1))
    if (name === 'transcode') for (const batches of prepared) for (const batch of batches) factsOf(batch)
    const start = mark()
    for (const batches of prepared) {
      if (name === 'scan') batchesOf(requests, 1)
      else if (name === 'facts') for (const batch of batches) factsOf(batch)
      else {
        fill(block, writer, batches, { batch: 0, row: 0 })
        block.parts()
      }
    }
    if (name !== 'warm-up') report(name, rounds * requestsPerInsert * REQUEST_SPANS, start)
  }
  process.stdout.write(`bytes per row in the block: ${Math.round(sizeOf(block.parts()) / block.rows)}\n`)
}

function sizeOf(parts: readonly Uint8Array[]): number {
  return parts.reduce((sum, part) => sum + part.length, 0)
}

async function insert(requests: readonly Uint8Array[]): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'weir-bench-'))
  const context = { id: 'clickhouse', kind: 'exporter', log: pino({ level: 'silent' }) } as unknown as Context
  const exporter = clickhouseMaker.create(config.parse({ directory, memory: { max: '6GiB' } }), context)
  const signal = new AbortController().signal
  try {
    await exporter.start?.()
    let start = mark()
    for (let i = 0; i < inserts + 2; i++) {
      if (i === 2) start = mark()
      const from = i * requestsPerInsert + 1
      const batches = batchesOf(requests, from)
      const range = { from, to: from + requestsPerInsert - 1, token: `bench-${i}`, attempt: 0 }
      await exporter.deliver?.(
        { cursor: 'bench', range, batches, spans: requestsPerInsert * REQUEST_SPANS },
        signal,
      )
    }
    report(
      `insert, ${requestsPerInsert * REQUEST_SPANS} rows each`,
      inserts * requestsPerInsert * REQUEST_SPANS,
      start,
    )
    const query = { params: {}, maxRows: 10, maxBytes: 1e6, timeoutMs: 10_000 }
    const answer = await exporter.queryable?.query(
      { sql: 'SELECT count() FROM otel_traces', ...query },
      signal,
    )
    process.stdout.write(`stored: ${String(answer?.rows[0]?.[0])}\n`)
  } finally {
    await exporter.stop?.(signal)
    rmSync(directory, { recursive: true, force: true })
  }
}

const requests = Array.from({ length: 16 }, (_, seed) => standardRequest(seed + 1, REQUEST_SPANS))
transcode(requests)
await insert(requests)
