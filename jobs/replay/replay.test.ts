import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import type { Batch } from '../../pipeline/batch/batch.ts'
import { EventIds } from '../../pipeline/batch/event-id.ts'
import type { Exporter } from '../../pipeline/component.ts'
import { ACCEPTED } from '../../pipeline/consumer.ts'
import { writeTombstone } from '../../pipeline/erasure.ts'
import { reject } from '../../pipeline/fault.ts'
import type { JobContext, ReplayRoute, StoredExporter, Task } from '../../pipeline/jobs/job.ts'
import type { StoredRedactor } from '../../pipeline/redact.ts'
import type { ReplayCount, ReplaySink } from '../../pipeline/replay.ts'
import { createMeter } from '../../pipeline/telemetry/prom-meter.ts'
import { encodeCursor, cursorKey, newCursor } from '../../pipeline/wal/cursor-record.ts'
import { storedLogOf } from '../../pipeline/wal/stored-log.ts'
import { WalWriter } from '../../pipeline/wal/writer.ts'
import { exporterContext, RECEIVED_AT_MS, testBatch, testDelivery } from '../../test/contract/exporter.ts'
import { MemoryDriver, MemoryLog, MemoryState } from '../../test/contract/wal-memory.ts'
import { config as fileConfig } from '../../exporters/file/config.ts'
import { file } from '../../exporters/file/factory.ts'
import { config as s3Config } from '../../exporters/s3/config.ts'
import { s3 } from '../../exporters/s3/factory.ts'
import { S3Server } from '../../test/support/s3-server.ts'
import { until } from '../../test/support/until.ts'
import { config } from './config.ts'
import { params } from './params.ts'
import { ReplayJob } from './replay.ts'

const fileMaker = await file.load()
const s3Maker = await s3.load()

/** What a replay reads, and gives to a store: real archives and a log in memory, a store that is a set. */

const NEVER = new AbortController().signal

/** Spans `from` to `from + n - 1`, named by their number, one second apart. */
function spans(n: number, from = 0): Record<string, unknown>[] {
  return Array.from({ length: n }, (_, i) => ({
    spanId: (from + i + 1).toString(16).padStart(16, '0'),
    name: String(from + i),
    startTimeUnixNano: String(BigInt(RECEIVED_AT_MS + (from + i) * 1000) * 1_000_000n),
  }))
}

/** Holds spans by `EventId`; fails once after `breaksAfter` calls, before or after it took what it was given. */
class SetSink implements ReplaySink {
  readonly held = new Map<string, string>()
  readonly tokens: string[] = []
  calls = 0
  breaks: 'before' | 'after' | undefined
  bad: string | undefined

  async count(batches: readonly Batch[]): Promise<ReplayCount> {
    const ids = batches.flatMap(idsOf)
    return { spans: ids.length, present: ids.filter(([id]) => this.held.has(id)).length, expired: 0 }
  }

  async add(batches: readonly Batch[], token: string): Promise<ReplayCount> {
    this.calls++
    const breaks = this.calls === 3 ? this.breaks : undefined
    if (breaks === 'before') throw new Error('killed')
    const ids = batches.flatMap(idsOf)
    if (ids.some(([, name]) => name === this.bad)) throw reject('EXPORT_REJECTED', 'a bad span')
    const counted = await this.count(batches)
    this.tokens.push(token)
    for (const [id, name] of ids) this.held.set(id, name)
    if (breaks === 'after') throw new Error('killed')
    return counted
  }

  replace(batches: readonly Batch[], token: string): Promise<ReplayCount> {
    return this.add(batches, token)
  }

  settle(): Promise<void> {
    return Promise.resolve()
  }

  get names(): number[] {
    return [...this.held.values()].map(Number).toSorted((a, b) => a - b)
  }
}

function idsOf(batch: Batch): [string, string][] {
  const ids = new EventIds(batch.meta.tenant)
  const found: [string, string][] = []
  for (let row = 0; row < batch.rows; row++) {
    if (!batch.isLive(row)) continue
    const id = ids.ofSpan(batch.traceId(row), batch.spanId(row), batch.startNs(row)).toString('hex')
    found.push([`${batch.meta.tenant} ${id}`, batch.name(row)])
  }
  return found
}

let server: S3Server
let folder: string
let log: MemoryLog
let state: MemoryState
let sink: SetSink
let archives: StoredExporter[]
let redactors: StoredRedactor[]
const opened: Exporter[] = []

beforeAll(async () => {
  server = await S3Server.start()
  folder = await mkdtemp(join(tmpdir(), 'weir-replay-'))
})
afterAll(async () => {
  for (const exporter of opened) await exporter.stop?.(NEVER)
  await server.close()
  await rm(folder, { recursive: true, force: true })
})
beforeEach(() => {
  log = new MemoryLog()
  log.nowMs = RECEIVED_AT_MS
  state = new MemoryState()
  sink = new SetSink()
  archives = []
  redactors = []
})

function stored() {
  const driver = new MemoryDriver(log)
  const options = {
    connector: 'wal',
    driver,
    meter: createMeter(),
    onAppended: () => undefined,
    maxPendingBytes: 1 << 24,
  }
  return storedLogOf('wal', driver, new WalWriter(options))
}

async function append(batch: Batch): Promise<void> {
  await stored().append(batch, NEVER)
  const cursor = newCursor('traces/store/set', log.lastSeq + 1, 0)
  await state.put(cursorKey('wal', cursor.cursor), encodeCursor(cursor))
}

function context(): JobContext {
  const exporter: Exporter = { consume: () => Promise.resolve(ACCEPTED), replay: sink }
  const route: ReplayRoute = {
    cursor: 'traces/store/set',
    pipeline: 'traces/store',
    exporterId: 'set',
    exporter,
    log: stored(),
    feeders: [{ connector: 'wal', cursor: 'traces/store/set' }],
    processors: () => Promise.resolve([]),
    reprice: () => Promise.reject(new Error('not asked for')),
  }
  return {
    ...exporterContext('replay'),
    kind: 'job',
    meter: createMeter(),
    state,
    stores: {
      exporters: () => archives,
      logs: () => [route.log],
      chains: () => [],
      redactors: () => redactors,
      redactables: () => new Map(),
      retainables: () => [],
      route: () => route,
    },
  }
}

let saved: unknown

/** A run, or the rest of the one that was cut off. */
async function run(asked: object, more: Partial<Task> = {}, settings: object = {}) {
  const task: Task = {
    job: 'replay',
    id: '1',
    scheduledAtMs: 1,
    dryRun: false,
    params: params.parse({ pipeline: 'traces/store', ...asked }),
    by: 'test',
    checkpoint: undefined,
    save: (checkpoint) => {
      saved = JSON.parse(JSON.stringify(checkpoint))
      return Promise.resolve()
    },
    progress: () => undefined,
    clock: Date.now,
    ...more,
  }
  const job = new ReplayJob(config.parse({ directories: [folder], chunk_spans: 10, ...settings }), context())
  return await job.run(task, NEVER)
}

const upTo = (n: number, from = 0): number[] => Array.from({ length: n }, (_, i) => from + i)

async function archiveOf(id: string, exporter: Exporter): Promise<Exporter> {
  opened.push(exporter)
  await exporter.start?.()
  archives.push({ id, pipelines: ['traces/store'], exporter })
  return exporter
}

const s3At = (prefix: string, more: object = {}): Promise<Exporter> =>
  archiveOf(
    's3',
    s3Maker.create(
      s3Config.parse({
        marshaler: 'otlp_proto',
        ...more,
        s3uploader: { ...server.place, s3_prefix: prefix },
      }),
      exporterContext('s3'),
    ),
  )

test('the WAL: by sequence, time, trace, run and tenant; a second time nothing is added', async () => {
  for (let i = 0; i < 5; i++) await append(testBatch(spans(20, i * 20), { tenant: i < 4 ? 'acme' : 'zoo' }))
  await append(testBatch(spans(1, 500).map((span) => ({ ...span, traceId: 'f'.repeat(32) }))))
  expect((await run({}, { dryRun: true })).counts).toMatchObject({
    spans: 101,
    absent: 101,
    present: 0,
    traces: 3,
    tenants: 3,
  })
  expect(sink.held.size).toBe(0)
  expect((await run({ from_seq: 2, to_seq: 3 })).counts).toMatchObject({ spans: 40, added: 40 })
  expect(sink.names).toEqual(upTo(40, 20))
  const at = (second: number) => new Date(RECEIVED_AT_MS + second * 1000).toISOString()
  expect((await run({ from: at(15), to: at(25) })).counts).toMatchObject({
    spans: 10,
    added: 5,
    already_there: 5,
  })
  expect((await run({ trace: 'F'.repeat(32) })).counts).toMatchObject({ spans: 1, added: 1 })
  expect((await run({ run: 'ffffffff-ffff-ffff-ffff-ffffffffffff' })).counts).toMatchObject({
    spans: 1,
    added: 0,
  })
  expect((await run({ tenant: 'zoo' })).counts).toMatchObject({ spans: 20, added: 20 })
  expect((await run({})).counts).toMatchObject({ spans: 101 })
  expect((await run({})).counts).toMatchObject({ spans: 101, added: 0, already_there: 101 })
})

test('a repeat that the cursor left out is left out again', async () => {
  const batch = testBatch(spans(10))
  await append(batch)
  await append(batch.fork())
  expect((await run({})).counts).toMatchObject({ spans: 10, added: 10, duplicates: 10, read: 20 })
})

test.each(['before', 'after'] as const)(
  'goes on %s what was under way at a kill, to the same end',
  async (when) => {
    for (let i = 0; i < 6; i++) await append(testBatch(spans(10, i * 10)))
    await s3At(`killed-${when}`)
    for (const source of ['wal', 's3:s3']) {
      if (source === 's3:s3') {
        for (let i = 0; i < 6; i++)
          await archives[0]?.exporter.deliver?.(
            testDelivery([testBatch(spans(10, i * 10))], { from: i + 1, token: `t${i}` }),
            NEVER,
          )
      }
      sink = new SetSink()
      sink.breaks = when
      await expect(run({ source })).rejects.toThrow('killed')
      expect(sink.names).toEqual(upTo(when === 'before' ? 20 : 30))
      const rest = await run({ source }, { checkpoint: saved })
      expect(sink.names).toEqual(upTo(60))
      expect(rest.counts).toMatchObject({ spans: 60, read: 60 })
      // What was under way went in under the same token, or was found there.
      expect(sink.calls).toBe(7)
      expect(new Set(sink.tokens).size).toBe(6)
    }
  },
)

test('the archive for what the WAL has no more, the WAL for the rest, and no span from both', async () => {
  for (let i = 0; i < 6; i++) await append(testBatch(spans(10, i * 10)))
  const exporter = await s3At('mixed')
  const deliver = (from: number, to: number) =>
    exporter.deliver?.(
      {
        ...testDelivery(upTo(to - from + 1, from - 1).map((i) => testBatch(spans(10, i * 10)))),
        cursor: 'traces/store/s3',
        range: { from, to, token: `m${from}`, attempt: 0 },
      },
      NEVER,
    )
  await deliver(1, 2)
  await deliver(3, 4)
  await deliver(5, 6)
  await new MemoryDriver(log).trim(3)
  // 4 is in the WAL, and in an object with 3.
  const { counts, notes } = await run({})
  expect(counts).toMatchObject({ spans: 60, read: 60, added: 60 })
  expect(notes).toEqual([])
  expect((await run({ run: 'NOSUCH' })).notes).toEqual([
    'nothing matched: of the spans that were read, 60 in all, none is of this time, tenant, run and trace',
  ])
  expect((await run({ source: 'wal', from_seq: 7 })).notes.join()).toContain(
    'nothing matched: the source holds',
  )
  expect(sink.names).toEqual(upTo(60))
  archives = []
  sink = new SetSink()
  const alone = await run({})
  expect(alone.counts).toMatchObject({ spans: 30 })
  expect(alone.notes.join()).toContain('before sequence 4 the WAL has nothing any more')
})

test.each(['json', 'proto'])(
  'the file exporter, %s, put aside or not; its files do not say whose spans they are',
  async (format) => {
    const path = join(folder, `own-${format}`, 'traces.jsonl.gz')
    const settings = { path, format, compression: 'gzip', rotation: { max_megabytes: 0.0001 } }
    const exporter = await archiveOf(
      'file',
      fileMaker.create(fileConfig.parse(settings), exporterContext('file')),
    )
    for (let i = 0; i < 4; i++)
      await exporter.deliver?.(
        testDelivery([testBatch(spans(10, i * 10))], { from: i + 1, token: `f${i}` }),
        NEVER,
      )
    await expect(run({ source: 'file:file' })).rejects.toThrow('name the tenant')
    expect((await run({ source: 'file:file', tenant: 'default' })).counts).toMatchObject({
      spans: 40,
      added: 40,
    })
    expect(sink.names).toEqual(upTo(40))
  },
)

test('what the collector wrote: its S3 layout, and its files', async () => {
  await s3At('collector')
  const json = (from: number) => Buffer.from(testBatch(spans(10, from)).toJson())
  const proto = (from: number) => Buffer.from(testBatch(spans(10, from)).encode())
  const minute = 'collector/year=2026/month=11/day=21/hour=12/minute=07'
  await server.put(`${minute}/traces_aB3dE6gH9.json`, json(0))
  await server.put(`${minute}/traces_bB3dE6gH9.json.gz`, gzipSync(json(10)))
  await server.put(`${minute}/traces_cB3dE6gH9.binpb`, proto(20))
  await server.put(`${minute}/logs_dB3dE6gH9.json`, Buffer.from('{"resourceLogs":[]}'))
  expect((await run({ source: 's3:s3', tenant: 'default' })).counts).toMatchObject({ spans: 30, added: 30 })
  expect(sink.names).toEqual(upTo(30))
  sink = new SetSink()
  expect(
    (await run({ source: 's3:s3', prefix: `${minute}/traces_c`, tenant: 'default' })).counts,
  ).toMatchObject({ spans: 10 })

  const framed = (bytes: Buffer) => {
    const head = Buffer.alloc(4)
    head.writeUInt32BE(bytes.length)
    return Buffer.concat([head, bytes])
  }
  await writeFile(
    join(folder, 'c1.json'),
    Buffer.concat([json(0), Buffer.from('\n'), json(10), Buffer.from('\n')]),
  )
  await writeFile(join(folder, 'c2.pb'), Buffer.concat([framed(proto(20)), framed(proto(30))]))
  await writeFile(
    join(folder, 'c3.json'),
    Buffer.from('{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"x"}]}]}]}\n'),
  )
  sink = new SetSink()
  for (const [name, found] of [
    ['c1.json', 20],
    ['c2.pb', 20],
    ['c3.json', 0],
  ] as const) {
    const { counts, notes } = await run({ source: join(folder, name), tenant: 'default' })
    expect(counts).toMatchObject({ spans: found })
    expect(notes.length).toBe(found === 0 ? 1 : 0)
  }
  expect(sink.names).toEqual(upTo(40))
  await expect(run({ source: '/etc/hostname', tenant: 'default' })).rejects.toThrow('directories')
})

test('an object that was altered is not delivered, and told', async () => {
  const exporter = await s3At('altered')
  for (let i = 0; i < 2; i++)
    await exporter.deliver?.(
      testDelivery([testBatch(spans(10, i * 10))], { from: i + 1, token: `a${i}` }),
      NEVER,
    )
  const [key = ''] = (await server.keys('altered/tenant=default')).filter((name) => name.includes('traces_'))
  await server.put(key, gzipSync(Buffer.from(testBatch(spans(10, 100)).encode())))
  const { counts, notes } = await run({ source: 's3:s3' })
  expect(counts).toMatchObject({ spans: 10, unreadable: 1 })
  expect(notes.join()).toContain('SHA-256')
  expect(sink.names).toEqual(upTo(10, 10))
})

test('what was erased does not come back', async () => {
  await append(testBatch(spans(20), { tenant: 'acme' }))
  await append(testBatch(spans(5, 20).map((span) => ({ ...span, traceId: 'e'.repeat(32) }))))
  await append(testBatch(spans(5, 30)))
  await writeTombstone(state, 'old', { v: 1, tenant: 'acme', beforeMs: RECEIVED_AT_MS + 15_000 })
  await writeTombstone(state, 'person', { v: 1, tenant: 'default', traces: ['e'.repeat(32)] })
  expect((await run({})).counts).toMatchObject({ spans: 10, added: 10, erased: 20, read: 30 })
  expect(sink.names).toEqual([...upTo(5, 15), ...upTo(5, 30)])
})

test('what was taken in under older rules passes those of now, also where they cannot be kept', async () => {
  await append(testBatch(spans(4)))
  const rule = (id: string, name: string): StoredRedactor => ({
    id,
    rules: name,
    spares: () => false,
    redact: (batch) => {
      if (name === '') return Promise.reject(reject('SANITIZER_FAILED', 'no'))
      for (let row = 0; row < batch.rows; row++) batch.setName(row, name)
      return Promise.resolve()
    },
  })
  redactors = [rule('sanitizer', '7'), rule('sanitizer', '7')]
  expect((await run({ replace: true })).counts).toMatchObject({ spans: 4, added: 4 })
  expect(sink.names).toEqual([7, 7, 7, 7])
  redactors = [rule('sanitizer', '')]
  expect((await run({ replace: true })).counts).toMatchObject({ spans: 0, dead_letters: 4 })
  expect(sink.names).toEqual([7, 7, 7, 7])
  // Nothing says whose rules a span is under.
  redactors = [rule('sanitizer', '8'), rule('sanitizer/strict', '9')]
  await run({ replace: true })
  expect(sink.names).toEqual([0, 1, 2, 3])
})

test('one span that the store will never take costs one span', async () => {
  await append(testBatch(spans(30)))
  sink.bad = '17'
  expect((await run({})).counts).toMatchObject({ spans: 30, added: 29, rejected: 1 })
  expect(sink.names).toEqual(upTo(30).filter((n) => n !== 17))
})

test('waits until the cursor of the store has passed the range', async () => {
  await append(testBatch(spans(10)))
  const key = cursorKey('wal', 'traces/store/set')
  await state.put(key, encodeCursor(newCursor('traces/store/set', 1, 0)))
  let done = false
  const running = run({}).then(() => (done = true))
  await new Promise((resolve) => setImmediate(resolve))
  expect([done, sink.calls]).toEqual([false, 0])
  await state.put(key, encodeCursor(newCursor('traces/store/set', 2, 0)))
  await running
  expect(sink.names).toEqual(upTo(10))
})

test('waits for what the log took while the archive was read, which may hold it already', async () => {
  const body = JSON.stringify({ resourceSpans: [{ scopeSpans: [{ spans: spans(10) }] }] })
  await writeFile(join(folder, 'growing.json'), body)
  const key = cursorKey('wal', 'traces/store/set')
  await state.put(key, encodeCursor(newCursor('traces/store/set', 1, 0)))
  let taken: Promise<unknown> | undefined
  const progress = { save: async () => void (await (taken ??= stored().append(testBatch(spans(10)), NEVER))) }
  let done = false
  const running = run({ source: join(folder, 'growing.json'), tenant: 'default' }, progress).then(
    () => (done = true),
  )
  await until(() => taken !== undefined)
  await taken
  for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve))
  expect([done, sink.calls]).toEqual([false, 0])
  await state.put(key, encodeCursor(newCursor('traces/store/set', 2, 0)))
  await running
  expect(sink.calls).toBe(1)
})

test('a rate is kept', async () => {
  for (let i = 0; i < 4; i++) await append(testBatch(spans(10, i * 10)))
  const started = performance.now()
  await run({ rate: 100 })
  expect(performance.now() - started).toBeGreaterThan(300)
})
