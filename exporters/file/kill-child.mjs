// Delivers ranges into a file until it is killed: `node kill-child.mjs <dist> <path> <first range> <attempt>`. Prints the
// number of each range that was delivered; the parent takes that for the cursor.
import { writeSync } from 'node:fs'
import { pathToFileURL } from 'node:url'

const [dist, path, first, firstAttempt] = process.argv.slice(2)
const load = (name) => import(pathToFileURL(`${dist}/${name}`).href)
const { file } = await load('exporters/file/factory.js')
const { config } = await load('exporters/file/config.js')
const { decodeJsonBatch } = await load('pipeline/batch/otlp-batch.js')

const nothing = { add: () => undefined, set: () => undefined }
const meter = { counter: () => nothing, gauge: () => nothing, histogram: () => nothing }
const log = { info: () => undefined, warn: () => undefined }
// Rotates about every third range; `max_backups: 0` keeps all.
const options = config.parse({ path, rotation: { max_megabytes: 0.03, max_backups: 0 } })
const maker = await file.load()
const exporter = maker.create(options, { id: 'file', kind: 'exporter', log, meter, clock: Date.now })
await exporter.start()

const ROWS = 50
const signal = new AbortController().signal
const meta = { signal: 'traces', tenant: 'default', project: '', principal: '', source: '', receivedAtMs: 1 }

for (let seq = Number(first), attempt = Number(firstAttempt); ; seq++, attempt = 0) {
  const spans = Array.from({ length: ROWS }, (_, i) => ({
    traceId: 'ab'.repeat(16),
    spanId: (seq * ROWS + i + 1).toString(16).padStart(16, '0'),
    name: `span ${i}`,
  }))
  const body = Buffer.from(JSON.stringify({ resourceSpans: [{ scopeSpans: [{ spans }] }] }))
  const batch = decodeJsonBatch(body, { ...meta, digest: Buffer.alloc(16), wal: { seq, row: 0 } })
  const range = { from: seq, to: seq, token: `range-${seq}`, attempt }
  await exporter.deliver({ cursor: 'test', range, batches: [batch], spans: ROWS }, signal)
  writeSync(1, `${seq}\n`)
}
