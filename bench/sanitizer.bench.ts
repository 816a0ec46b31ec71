import { pino } from 'pino'
import { createMeter } from '../pipeline/telemetry/prom-meter.ts'
import { Secret } from '../pipeline/secret.ts'
import { config } from '../processors/sanitizer/config.ts'
import { Sanitizer } from '../processors/sanitizer/sanitizer.ts'
import { decoded } from './decoded.ts'
import { standardRequest } from './shape.ts'

/**
 * Time per span of the sanitizer on the standard shape, clean, and with an address in one prompt in eight:
 * `node dist/bench/sanitizer.bench.js` after a build; CPU time, medians of rounds.
 */
const SPANS = 512
const ROUNDS = 40

/** The same bytes, with an address over part of every eighth prompt. */
function dirty(bytes: Uint8Array): Buffer {
  const copy = Buffer.from(bytes)
  let at = 0
  for (let n = 0; (at = copy.indexOf('gen_ai.prompt', at + 1)) >= 0; n++)
    if (n % 8 === 0) copy.write('ada.lovelace@example.org', at + 40)
  return copy
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0
}

async function run(): Promise<void> {
  const context = { meter: createMeter(), log: pino({ level: 'silent' }), state: undefined as never }
  const settings = { ...config.parse({}), salt: new Secret('x'.repeat(32)), log_interval: 0 }
  const sanitizer = new Sanitizer(settings, context)
  await sanitizer.start()
  const clean = Array.from({ length: 20 }, (_, seed) => standardRequest(seed + 1, SPANS))
  const kinds: Record<string, readonly Uint8Array[]> = {
    clean,
    'one prompt in 8 with an address': clean.map(dirty),
  }
  for (const [name, requests] of Object.entries(kinds)) {
    const times: number[] = []
    let edited = 0
    for (let round = 0; round < ROUNDS; round++) {
      const batches = requests.map(decoded)
      const start = process.cpuUsage()
      for (const batch of batches) sanitizer.process(batch)
      const used = process.cpuUsage(start)
      times.push(((used.user + used.system) * 1000) / (requests.length * SPANS))
      edited = batches.filter((batch, index) => batch.encode() !== requests[index]).length
    }
    process.stdout.write(
      `${name.padEnd(34)}${Math.round(median(times))} ns per span, ${edited} of ${requests.length} batches edited\n`,
    )
  }
  await sanitizer.stop()
}

await run()
