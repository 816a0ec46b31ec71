import { createServer, type IncomingMessage, type Server } from 'node:http'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { pino } from 'pino'
import { config as fileConfig } from '../exporters/file/config.ts'
import { file } from '../exporters/file/factory.ts'
import { config as otlpConfig } from '../exporters/otlp/config.ts'
import { otlp } from '../exporters/otlp/factory.ts'
import { config as s3Config } from '../exporters/s3/config.ts'
import { s3 } from '../exporters/s3/factory.ts'
import { config as cloudwatchConfig } from '../exporters/cloudwatch/config.ts'
import { cloudwatch } from '../exporters/cloudwatch/factory.ts'
import { config as elasticsearchConfig } from '../exporters/elasticsearch/config.ts'
import { elasticsearch } from '../exporters/elasticsearch/factory.ts'
import { config as stdoutConfig } from '../exporters/stdout/config.ts'
import { StdoutExporter } from '../exporters/stdout/stdout.ts'
import type { Exporter } from '../pipeline/component.ts'
import type { Context } from '../pipeline/factory.ts'
import { decoded } from './decoded.ts'
import { standardRequest } from './shape.ts'

const fileMaker = await file.load()
const otlpMaker = await otlp.load()
const s3Maker = await s3.load()
const cloudwatchMaker = await cloudwatch.load()
const elasticsearchMaker = await elasticsearch.load()

/**
 * Spans/s, CPU-seconds per million spans and bytes per span of one exporter at a time, on the standard shape, 8192 spans
 * per delivery. The HTTP server that takes them is in the same process, counts bytes, and answers as little as each protocol asks
 * for (of Elasticsearch's bulk that is a status per document). Bytes are those on the disk, the wire or the pipe.
 * `node dist/bench/exporters.bench.js [seconds per exporter]` after a build.
 */
const SECONDS = Number(process.argv[2] ?? 3)
const REQUESTS = 16
const SPANS = 512

const nothing = {
  add: () => undefined,
  set: () => undefined,
  remove: () => undefined,
  observe: () => undefined,
}
const meter = { counter: () => nothing, gauge: () => nothing, histogram: () => nothing }
const context = {
  id: 'bench',
  kind: 'exporter',
  log: pino({ level: 'silent' }),
  meter,
  clock: Date.now,
} as unknown as Context

/** Of today: CloudWatch takes nothing older than two weeks. */
const startNs = BigInt(Date.now() - 60_000) * 1_000_000n
const requests = Array.from({ length: REQUESTS }, (_, seed) => standardRequest(seed + 1, SPANS, startNs))
const signal = new AbortController().signal

async function measure(name: string, exporter: Exporter, bytes: () => number): Promise<void> {
  await exporter.start?.()
  const begun = performance.now()
  const cpu = process.cpuUsage()
  let spans = 0
  for (let seq = 1; performance.now() - begun < SECONDS * 1000; seq++) {
    const batches = requests.map((request) => decoded(request))
    const range = { from: seq, to: seq, token: `t${seq}`, attempt: 0 }
    if (exporter.deliver === undefined) for (const batch of batches) await exporter.consume(batch, signal)
    else {
      const { rejected } = await exporter.deliver(
        { cursor: 'bench', range, batches, spans: REQUESTS * SPANS },
        signal,
      )
      if (rejected.length > 0) throw new Error(`${name}: spans were rejected`)
    }
    spans += REQUESTS * SPANS
  }
  const seconds = (performance.now() - begun) / 1000
  const { user, system } = process.cpuUsage(cpu)
  const rate = Math.round(spans / seconds).toString()
  const perMillion = ((user + system) / spans).toFixed(1)
  const size = Math.round(bytes() / spans).toString()
  process.stdout.write(
    `${name.padEnd(22)}${rate.padStart(9)} spans/s ${perMillion.padStart(6)} CPU-s/M spans ${size.padStart(5)} B/span\n`,
  )
  await exporter.stop?.(signal)
}

type Answer = (request: IncomingMessage, body: Buffer) => unknown

async function counting(answer: Answer = () => ({})): Promise<{
  readonly server: Server
  readonly url: string
  readonly bytes: () => number
}> {
  let bytes = 0
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const body = Buffer.concat(chunks)
      bytes += body.length
      response.end(JSON.stringify(answer(request, body)))
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return { server, url: `http://127.0.0.1:${port}`, bytes: () => bytes }
}

async function run(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'weir-bench-'))
  for (const options of [
    {},
    { compression: 'gzip' },
    { format: 'proto' },
    { format: 'proto', compression: 'gzip' },
  ]) {
    const path = join(folder, Object.values(options).join('-') || 'json')
    const exporter = fileMaker.create(fileConfig.parse({ path, ...options }), context)
    await measure(`file ${Object.values(options).join(' ') || 'json'}`, exporter, () => statSync(path).size)
    rmSync(path)
  }
  for (const options of [
    { compression: 'none' },
    { compression: 'gzip' },
    { encoding: 'json', compression: 'gzip' },
  ]) {
    const { server, url, bytes } = await counting()
    const exporter = otlpMaker.create(
      otlpConfig.parse({ endpoint: url, protocol: 'http', ...options }),
      context,
    )
    await measure(`otlp http ${Object.values(options).join(' ')}`, exporter, bytes)
    server.close()
    server.closeAllConnections()
  }
  rmSync(folder, { recursive: true })
  for (const marshaler of ['otlp_json', 'otlp_proto', 'parquet']) {
    for (const compression of ['none', 'gzip']) {
      const { server, url, bytes } = await counting()
      const place = { endpoint: url, s3_bucket: 'bench', s3_force_path_style: true }
      const keys = { access_key_id: 'bench', secret_access_key: 'bench' }
      const options = s3Config.parse({ marshaler, s3uploader: { ...place, ...keys, compression } })
      await measure(`s3 ${marshaler} ${compression}`, s3Maker.create(options, context), bytes)
      server.close()
      server.closeAllConnections()
    }
  }
}

/** As much as its clients look at. */
function asElasticsearch({ url = '', headers }: IncomingMessage, body: Buffer): unknown {
  if (!url.startsWith('/_bulk')) return { version: { number: '8.15.0' }, acknowledged: true }
  const lines = headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body
  let documents = 0
  for (let at = lines.indexOf(10); at !== -1; at = lines.indexOf(10, at + 1)) documents++
  return { errors: false, items: Array.from({ length: documents / 2 }, () => ({ index: { status: 201 } })) }
}

async function runServices(): Promise<void> {
  for (const compression of ['none', 'gzip'] as const) {
    const { server, url, bytes } = await counting(asElasticsearch)
    const options = elasticsearchConfig.parse({ endpoint: url, compression })
    await measure(`elasticsearch ${compression}`, elasticsearchMaker.create(options, context), bytes)
    server.close()
    server.closeAllConnections()
  }
  const { server, url, bytes } = await counting()
  const keys = { access_key_id: 'bench', secret_access_key: 'bench' }
  const names = { log_group_name: 'bench', log_stream_name: 'bench' }
  const options = cloudwatchConfig.parse({ endpoint: url, ...keys, ...names })
  await measure('cloudwatch', cloudwatchMaker.create(options, context), bytes)
  server.close()
  server.closeAllConnections()
}

async function runStdout(): Promise<void> {
  for (const options of [{ format: 'json' }, { verbosity: 'normal' }, { verbosity: 'detailed' }]) {
    let bytes = 0
    const sink = {
      destroyed: false,
      on: () => undefined,
      off: () => undefined,
      write(text: string, done: () => void) {
        bytes += Buffer.byteLength(text)
        setImmediate(done)
      },
    }
    const exporter = new StdoutExporter(stdoutConfig.parse(options), sink, false)
    await measure(`stdout ${Object.values(options).join(' ')}`, exporter, () => bytes)
  }
}

await run()
await runServices()
await runStdout()
