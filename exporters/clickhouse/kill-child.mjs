// A process that delivers ranges into embedded ClickHouse until it is killed: `node kill-child.mjs <dist> <directory>`.
// A line of stdin is a delivery `{seq, attempt, rows}`, answered by `done` or the fault, a query `{sql}`, answered by its
// rows, or a replay `{replace: seq, rows, at}` that replaces a range, and is killed as it comes to a statement that has `at`.
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'

const [dist, directory] = process.argv.slice(2)
const load = (path) => import(pathToFileURL(`${dist}/${path}`).href)
const { clickhouse } = await load('exporters/clickhouse/factory.js')
const { config } = await load('exporters/clickhouse/config.js')
const { openEmbedded } = await load('exporters/clickhouse/embedded.js')
const { ClickHouseReplay } = await load('exporters/clickhouse/replay/replay.js')
const { targetOf } = await load('exporters/clickhouse/target.js')
const { decodeJsonBatch } = await load('pipeline/batch/otlp-batch.js')

const log = { info: () => undefined, warn: () => undefined }
const maker = await clickhouse.load()
const exporter = maker.create(config.parse({ directory }), { id: 'clickhouse', kind: 'exporter', log })
await exporter.start()
const signal = new AbortController().signal

/** Spans over two days: two partitions, so that a part of a range can be there. */
function batch(seq, rows, status = 'as it was') {
  const spans = Array.from({ length: rows }, (_, i) => ({
    traceId: seq.toString(16).padStart(32, '0'),
    spanId: (i + 1).toString(16).padStart(16, '0'),
    name: `span ${i}`,
    status: { message: status },
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

async function replace(seq, rows, at) {
  const settings = config.parse({ directory })
  const { mark_cache: markCacheBytes, max: maxMemoryBytes } = settings.memory
  const target = targetOf(settings)
  const connection = await openEmbedded({
    directory,
    database: target.database,
    markCacheBytes,
    maxMemoryBytes,
  })
  let isMade = false
  const dying = {
    rows: (sql, params, turn) => connection.rows(sql, params, turn),
    insert: (insert, turn) => connection.insert(insert, turn),
    command(sql) {
      if (isMade && sql.includes(at)) process.kill(process.pid, 'SIGKILL')
      isMade ||= sql.includes('_texts') && sql.startsWith('CREATE')
      return connection.command(sql)
    },
  }
  const replay = new ClickHouseReplay(() => ({
    connection: dying,
    target,
    isShared: false,
    oldestMs: 0,
    ending: signal,
    inTurn: (turn, work) => work(turn),
    insert: () => Promise.reject(new Error('all of it is in the table')),
  }))
  await replay.replace([batch(seq, rows, 'as it is now')], 'replay', signal)
  await connection.close()
}

process.stdout.write('ready\n')
for await (const line of createInterface({ input: process.stdin })) {
  const { seq, attempt, rows, sql, replace: replaced, at } = JSON.parse(line)
  if (replaced !== undefined) {
    await replace(replaced, rows, at)
    process.stdout.write('done\n')
    continue
  }
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
