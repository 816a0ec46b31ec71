// A process that delivers ranges into embedded ClickHouse until it is killed: `node kill-child.mjs <dist> <directory>`.
// A line of stdin is a delivery `{seq, attempt, rows}`, answered by `done` or the fault, or a query `{sql}`, answered by its rows.
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'

const [dist, directory] = process.argv.slice(2)
const load = (path) => import(pathToFileURL(`${dist}/${path}`).href)
const { clickhouse } = await load('exporters/clickhouse/factory.js')
const { config } = await load('exporters/clickhouse/config.js')
const { decodeJsonBatch } = await load('pipeline/batch/otlp-batch.js')

const log = { info: () => undefined, warn: () => undefined }
const maker = await clickhouse.load()
const exporter = maker.create(config.parse({ directory }), { id: 'clickhouse', kind: 'exporter', log })
await exporter.start()
const signal = new AbortController().signal

/** Spans over two days: two partitions, so that a part of a range can be there. */
function batch(seq, rows) {
  const spans = Array.from({ length: rows }, (_, i) => ({
    traceId: seq.toString(16).padStart(32, '0'),
    spanId: (i + 1).toString(16).padStart(16, '0'),
    name: `span ${i}`,
    startTimeUnixNano: String((1_790_000_000n + BigInt((i % 2) * 86_400)) * 1_000_000_000n + BigInt(i)),
  }))
  const body = Buffer.from(JSON.stringify({ resourceSpans: [{ scopeSpans: [{ spans }] }] }))
  const meta = {
    signal: 'traces',
    tenant: 'default',
    project: '',
    principal: '',
    source: 'test',
    digest: Buffer.alloc(16),
  }
  return decodeJsonBatch(body, { ...meta, receivedAtMs: 1_790_000_000_000, wal: { seq, row: 0 } })
}

process.stdout.write('ready\n')
for await (const line of createInterface({ input: process.stdin })) {
  const { seq, attempt, rows, sql } = JSON.parse(line)
  if (sql !== undefined) {
    const answer = await exporter.queryable.query(
      { sql, params: {}, maxRows: 100, maxBytes: 1e6, timeoutMs: 10_000 },
      signal,
    )
    process.stdout.write(`${JSON.stringify(answer.rows)}\n`)
    continue
  }
  const range = { from: seq, to: seq, token: `range-${seq}`, attempt }
  try {
    await exporter.deliver({ cursor: 'test', range, batches: [batch(seq, rows)], spans: rows }, signal)
    process.stdout.write('done\n')
  } catch (error) {
    process.stdout.write(`${error.code}: ${error.message}\n`)
  }
}
await exporter.stop(signal)
