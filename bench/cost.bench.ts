import { NO_USAGE } from '../pipeline/usage/usage.ts'
import { factsOf } from '../pipeline/genai/facts-of.ts'
import { createMeter } from '../pipeline/telemetry/prom-meter.ts'
import { config } from '../processors/cost/config.ts'
import { CostProcessor } from '../processors/cost/cost.ts'
import { decoded } from './decoded.ts'
import { standardRequest } from './shape.ts'

/**
 * Time per span of the meaning of spans and of their price, on the standard shape.
 * `node dist/bench/cost.bench.js` after a build; medians of interleaved rounds, so that noise hits all alike.
 */
const SPANS = 512
const ROUNDS = 60

interface Timing {
  readonly decode: number[]
  readonly facts: number[]
  readonly cost: number[]
}

async function run(): Promise<void> {
  const requests = Array.from({ length: 20 }, (_, seed) => standardRequest(seed + 1, SPANS))
  const processor = new CostProcessor(config.parse({}), { meter: createMeter(), usage: NO_USAGE })
  await processor.start()
  const timing: Timing = { decode: [], facts: [], cost: [] }
  for (let round = 0; round < ROUNDS; round++)
    for (const request of requests) measure(request, processor, timing)
  const leaves = requests.map((request) =>
    factsOf(decoded(request)).leaf.reduce((sum, leaf) => sum + leaf, 0),
  )
  process.stdout.write(`${SPANS} spans, ${leaves[0] ?? 0} of them model calls; ns per span, median and p90\n`)
  for (const [name, values] of Object.entries(timing) as [string, number[]][]) {
    const sorted = values.toSorted((a, b) => a - b)
    const at = (share: number) => Math.round(sorted[Math.floor(sorted.length * share)] ?? 0)
    process.stdout.write(`${name.padEnd(8)}${at(0.5)}  ${at(0.9)}\n`)
  }
}

function measure(request: Uint8Array, processor: CostProcessor, timing: Timing): void {
  const start = process.hrtime.bigint()
  const batch = decoded(request)
  const scanned = process.hrtime.bigint()
  factsOf(batch)
  const understood = process.hrtime.bigint()
  processor.process(batch)
  const priced = process.hrtime.bigint()
  timing.decode.push(Number(scanned - start) / SPANS)
  timing.facts.push(Number(understood - scanned) / SPANS)
  timing.cost.push(Number(priced - understood) / SPANS)
}

await run()
