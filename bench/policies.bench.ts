import { loadValidators } from '../processors/validators/index.ts'
import { createMeter } from '../pipeline/telemetry/prom-meter.ts'
import type { Batch } from '../pipeline/batch/batch.ts'
import { config } from '../processors/validators/config.ts'
import { Validators } from '../processors/validators/validators.ts'
import { decoded } from './decoded.ts'
import { standardRequest } from './shape.ts'

const loaded = await loadValidators()

/**
 * CPU time per clean span of the whole ingestion phase on the standard shape, and what policy rules add to it:
 * `node dist/bench/policies.bench.js` after a build; medians of rounds.
 */
const SPANS = 512
const ROUNDS = 30

/** One that most spans have no attribute for, one over an attribute that all have, two over what spans mean. */
const RULES = {
  absent: 'attributes["http.response.status_code"] >= 500',
  attribute: 'attributes["gen_ai.request.model"].startsWith("o1-")',
  meaning: 'span.operation == "embeddings" && span.input_tokens > 100000',
  pattern: 'span.model.matches("^(o1|o3)-.*preview$")',
}

const requests = Array.from({ length: 20 }, (_, seed) => standardRequest(seed + 1, SPANS))

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0
}

function measure(name: string, settings: object): void {
  const validators = new Validators(config.parse(settings), { meter: createMeter() }, loaded)
  const times: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    const batches: readonly Batch[] = requests.map(decoded)
    const start = process.cpuUsage()
    for (const batch of batches) validators.process(batch)
    const used = process.cpuUsage(start)
    times.push(((used.user + used.system) * 1000) / (requests.length * SPANS))
  }
  process.stdout.write(`${name.padEnd(34)}${Math.round(median(times))} ns per span\n`)
}

const OTHERS = { prompt_injection: { enabled: false } }
measure('all validators, no rules', {})
measure('without prompt_injection', OTHERS)
for (const [name, when] of Object.entries(RULES))
  measure(`  and a rule: ${name}`, { ...OTHERS, policy: { rules: [{ name, when }] } })
const all = Object.entries(RULES).map(([name, when]) => ({ name, when }))
measure('  and all four rules', { ...OTHERS, policy: { rules: all } })
