import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import type { Batch } from '../pipeline/batch/batch.ts'
import { decodeBatch } from '../pipeline/batch/otlp-batch.ts'
import type { Context } from '../pipeline/factory.ts'
import { Vault } from '../pipeline/identity/vault.ts'
import { Secret } from '../pipeline/secret.ts'
import { EmbeddedState } from '../pipeline/state/embedded.ts'
import { createMeter } from '../pipeline/telemetry/prom-meter.ts'
import { artifacts } from '../processors/artifacts/factory.ts'
import { Sink } from '../proto/wire.ts'
import { decoded } from './decoded.ts'
import { standardRequest } from './shape.ts'

const artifactsMaker = await artifacts.load()

/**
 * What `artifacts` costs: CPU time per span that has nothing to move, on the standard shape, and MB/s moved to a
 * directory, each file made durable: `node dist/bench/artifacts.bench.js` after a build.
 */
const SPANS = 512
const ROUNDS = 30
const VALUE_BYTES = 1024 * 1024
const VALUES = 32

const home = mkdtempSync(join(tmpdir(), 'weir-bench-artifacts-'))
const state = new EmbeddedState(join(home, 'state'))
const context = {
  id: 'artifacts',
  meter: createMeter(),
  log: pino({ level: 'silent' }),
  clock: Date.now,
  state,
  vault: new Vault(new Secret(randomBytes(32).toString('hex'))),
} as unknown as Context

/** A request of one span with one random text of so many bytes. */
function largeBatch(): Batch {
  const sink = new Sink(VALUE_BYTES + 1024)
  const marks = [1, 2, 2, 9].map((field) => sink.open(field))
  sink.tag(1, 2)
  sink.string('gen_ai.prompt')
  const value = sink.open(2)
  sink.tag(1, 2)
  sink.string(randomBytes(VALUE_BYTES / 2).toString('hex'))
  sink.close(value)
  for (const mark of marks.toReversed()) sink.close(mark)
  return decodeBatch(sink.take(), decoded(standardRequest(1, 1)).meta)
}

async function clean(): Promise<void> {
  const processor = artifactsMaker.create(artifacts.config.parse({ directory: join(home, 'none') }), context)
  const batches = Array.from({ length: 20 }, (_, seed) => decoded(standardRequest(seed + 1, SPANS)))
  const times: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    const start = process.cpuUsage()
    for (let again = 0; again < 20; again++) for (const batch of batches) await processor.process(batch)
    const used = process.cpuUsage(start)
    times.push(((used.user + used.system) * 1000) / (20 * batches.length * SPANS))
  }
  const median = times.toSorted((a, b) => a - b)[times.length >> 1] ?? 0
  process.stdout.write(`nothing to move      ${median.toFixed(1)} ns of CPU per span\n`)
}

async function moved(name: string, settings: object): Promise<void> {
  const options = artifacts.config.parse({ directory: join(home, name), ...settings })
  const processor = artifactsMaker.create(options, context)
  await processor.start?.()
  const batches = Array.from({ length: VALUES }, largeBatch)
  const cpu = process.cpuUsage()
  const start = performance.now()
  for (const batch of batches) await processor.process(batch)
  const seconds = (performance.now() - start) / 1000
  const used = process.cpuUsage(cpu)
  const megabytes = (VALUES * VALUE_BYTES) / 1e6
  const rate = (megabytes / seconds).toFixed(0)
  const perMegabyte = ((used.user + used.system) / 1000 / megabytes).toFixed(1)
  process.stdout.write(`${name.padEnd(20)} ${rate} MB/s, ${perMegabyte} ms of CPU per MB\n`)
  await processor.stop?.(AbortSignal.timeout(1000))
}

await state.open()
await clean()
await moved('directory, clear', { envelope: false })
await moved('directory, sealed', {})
await state.close()
rmSync(home, { recursive: true })
