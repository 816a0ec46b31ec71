import { pino } from 'pino'
import type { Batch } from '../pipeline/batch/batch.ts'
import type { Processor } from '../pipeline/component.ts'
import type { Context } from '../pipeline/factory.ts'
import { Secret } from '../pipeline/secret.ts'
import { createMeter } from '../pipeline/telemetry/prom-meter.ts'
import { NO_USAGE } from '../pipeline/usage/usage.ts'
import { cost } from '../processors/cost/factory.ts'
import { sampling } from '../processors/sampling/factory.ts'
import { sanitizer } from '../processors/sanitizer/factory.ts'
import { validators } from '../processors/validators/factory.ts'
import { decoded } from './decoded.ts'
import { standardRequest } from './shape.ts'

const costMaker = await cost.load()
const samplingMaker = await sampling.load()
const sanitizerMaker = await sanitizer.load()
const validatorsMaker = await validators.load()

/**
 * CPU time per clean span, and spans/s per core, of each judging processor alone and of all in their order, on the
 * standard shape: `node dist/bench/chain.bench.js` after a build; medians of interleaved rounds. Decoding is not in it.
 */
const SPANS = 512
const ROUNDS = 30

const context = {
  id: 'bench',
  meter: createMeter(),
  log: pino({ level: 'silent' }),
  usage: NO_USAGE,
} as unknown as Context
const salt = new Secret('x'.repeat(32))

const PROCESSORS: Readonly<Record<string, Processor>> = {
  sanitizer: sanitizerMaker.create({ ...sanitizer.config.parse({ log_interval: 0 }), salt }, context),
  validators: validatorsMaker.create(validators.config.parse({}), context),
  cost: costMaker.create(cost.config.parse({}), context),
  'sampling (head, 10 %)': samplingMaker.create(sampling.config.parse({ sampling_percentage: 10 }), context),
}
const CHAINS: Readonly<Record<string, readonly Processor[]>> = {
  ...Object.fromEntries(Object.entries(PROCESSORS).map(([name, processor]) => [name, [processor]])),
  'all together': Object.values(PROCESSORS),
}
const REQUESTS = Array.from({ length: 20 }, (_, seed) => standardRequest(seed + 1, SPANS))

/** ns of CPU per span. */
async function timed(processors: readonly Processor[]): Promise<number> {
  const batches: readonly Batch[] = REQUESTS.map(decoded)
  const start = process.cpuUsage()
  for (const batch of batches) for (const processor of processors) await processor.process(batch)
  const used = process.cpuUsage(start)
  return ((used.user + used.system) * 1000) / (REQUESTS.length * SPANS)
}

async function run(): Promise<void> {
  for (const processor of Object.values(PROCESSORS)) await processor.start?.()
  const times = new Map(Object.keys(CHAINS).map((name) => [name, [] as number[]]))
  for (let round = 0; round < ROUNDS; round++)
    for (const [name, processors] of Object.entries(CHAINS)) times.get(name)?.push(await timed(processors))
  for (const [name, values] of times) {
    const median = values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0
    const perSecond = Math.round(1e9 / median).toLocaleString('en')
    process.stdout.write(
      `${name.padEnd(24)}${String(Math.round(median)).padStart(6)} ns per span ${perSecond.padStart(12)} spans/s per core\n`,
    )
  }
  for (const processor of Object.values(PROCESSORS)) await processor.stop?.(AbortSignal.timeout(1000))
}

await run()
