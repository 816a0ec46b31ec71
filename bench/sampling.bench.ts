import { randomFillSync } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import type { Batch } from '../pipeline/batch/batch.ts'
import type { Context } from '../pipeline/factory.ts'
import type { FollowerTerm } from '../pipeline/follower.ts'
import { EmbeddedState } from '../pipeline/state/embedded.ts'
import { createMeter } from '../pipeline/telemetry/prom-meter.ts'
import { cursorKey, decodeCursor, encodeCursor, newCursor } from '../pipeline/wal/cursor-record.ts'
import { config } from '../processors/sampling/config.ts'
import { SamplingProcessor } from '../processors/sampling/sampling.ts'
import { Summary, SUMMARY_BYTES } from '../processors/sampling/summary.ts'
import { decoded } from './decoded.ts'
import { standardRequest } from './shape.ts'

/**
 * CPU time per span of sampling on the standard shape, traces of 16 spans: head; the scout; a cursor behind it. And what
 * a trace that is not judged yet takes in memory. `node --expose-gc dist/bench/sampling.bench.js` after a build.
 */
const SPANS = 512
const BATCHES = 20
const ROUNDS = 30

const HEAD = { sampling_percentage: 10 }
const TAIL = {
  decision_wait: '1s',
  policies: [
    { name: 'failed', type: 'status_code', status_code: { status_codes: ['ERROR'] } },
    { name: 'slow', type: 'latency', latency: { threshold_ms: 60_000 } },
    { name: 'paid', type: 'string_attribute', string_attribute: { key: 'plan', values: ['paid'] } },
    { name: 'rest', type: 'probabilistic', probabilistic: { sampling_percentage: 10 } },
  ],
}
const CURSOR = 'traces/store/sampling@ahead'

const REQUESTS = Array.from({ length: BATCHES }, (_, seed) => standardRequest(seed + 1, SPANS))

/** With trace ids of their own, 16 spans each. */
function batches(seq: number): Batch[] {
  return REQUESTS.map((request, at) => {
    const batch = decoded(Buffer.from(request))
    let id = Buffer.alloc(16)
    for (let row = 0; row < batch.rows; row++) {
      if (row % 16 === 0) id = randomFillSync(Buffer.alloc(16))
      batch.traceId(row).set(id)
    }
    return Object.assign(batch, { meta: { ...batch.meta, wal: { seq: seq + at, row: 0 } } })
  })
}

function processor(settings: object, state: EmbeddedState): SamplingProcessor {
  const context = { id: 'sampling', meter: createMeter(), log: pino({ level: 'silent' }), state }
  const behind = { connector: 'wal', pipeline: 'traces/store' }
  return new SamplingProcessor(config.parse(settings), { ...context, behind } as unknown as Context)
}

async function timed(work: () => Promise<void>): Promise<number> {
  const start = process.cpuUsage()
  await work()
  const used = process.cpuUsage(start)
  return ((used.user + used.system) * 1000) / (BATCHES * SPANS)
}

async function term(state: EmbeddedState): Promise<FollowerTerm> {
  const key = cursorKey('wal', CURSOR)
  let record = newCursor(CURSOR, 1, 0)
  await state.create(key, encodeCursor(record))
  return {
    record: () => record,
    save: async (change) => {
      record = decodeCursor(key, encodeCursor({ ...record, ...change }))
      await state.put(key, encodeCursor(record))
    },
    passed: () => Promise.resolve(1),
    state,
    signal: new AbortController().signal,
  }
}

function say(name: string, times: readonly number[]): void {
  const median = times.toSorted((a, b) => a - b)[times.length >> 1] ?? 0
  process.stdout.write(`${name.padEnd(44)}${Math.round(median)} ns per span\n`)
}

function memoryOfASummary(): void {
  const gc = (globalThis as { gc?: () => void }).gc
  if (gc === undefined) return
  const count = 200_000
  const held = new Map<string, Summary>()
  gc()
  const before = process.memoryUsage().heapUsed
  for (let n = 0; n < count; n++) {
    const key = randomFillSync(Buffer.alloc(16)).toString('utf16le') as Summary['key']
    const summary = new Summary(key, n, 1.79e12 + n + 0.5, n, {
      randomness: Math.random() * 2 ** 52,
      before: 1,
    })
    summary.spans = 16
    summary.bytes = 16_000
    summary.startMs = 1.79e12 + 0.25
    summary.endMs = 1.79e12 + 100.5
    summary.picoUsd = 1e10 + n
    held.set(key, summary)
  }
  gc()
  const bytes = (process.memoryUsage().heapUsed - before) / held.size
  process.stdout.write(
    `${'a trace in the scout'.padEnd(44)}${Math.round(bytes)} bytes of heap, counted as ${SUMMARY_BYTES}\n`,
  )
}

async function run(): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'weir-bench-'))
  const state = new EmbeddedState(directory)
  await state.open()
  const head = processor(HEAD, state)
  const scout = processor(TAIL, state).ahead!
  const cursor = processor(TAIL, state)
  await scout.begin(await term(state))
  await cursor.start()
  const times: Record<'head' | 'scout' | 'cursor', number[]> = { head: [], scout: [], cursor: [] }
  for (let round = 0; round < ROUNDS; round++) {
    const seq = 1 + round * BATCHES
    const [forHead, forScout, forCursor] = [batches(seq), batches(seq), batches(seq)]
    times.head.push(
      await timed(async () => {
        for (const batch of forHead) await head.process(batch)
      }),
    )
    const taken = forScout.map((batch) => ({ batch, seq: batch.meta.wal!.seq, walMs: seq * 1000 }))
    times.scout.push(await timed(() => scout.take(taken, seq + BATCHES - 1, seq * 1000)))
    // The same bytes, so the same traces; judged before the cursor is timed.
    for (const [at, batch] of forCursor.entries()) {
      for (let row = 0; row < SPANS; row++) batch.traceId(row).set(forScout[at]!.traceId(row))
    }
    await scout.quiet(seq + BATCHES - 1, (seq + BATCHES) * 1000 + 2000)
    times.cursor.push(
      await timed(async () => {
        for (const batch of forCursor) await cursor.process(batch)
      }),
    )
  }
  say('head, 10 %', times.head)
  say('the scout, 4 policies', times.scout)
  say('a cursor behind it, 10 % kept', times.cursor)
  await cursor.stop()
  await state.close()
  await rm(directory, { recursive: true })
  memoryOfASummary()
}

await run()
