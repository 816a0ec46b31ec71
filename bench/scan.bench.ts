import { decodeBatch } from '../pipeline/batch/otlp-batch.ts'
import type { BatchMeta } from '../pipeline/batch/batch.ts'
import { keyId } from '../pipeline/batch/keys.ts'
import { standardRequest } from './shape.ts'

/**
 * What reading a batch costs on one core: `node dist/bench/scan.bench.js`. Distinct requests in turn, so that nothing is
 * read twice from cache; the variants take turns in rounds, and the median round of each is printed. Rates are per
 * second of CPU (collector threads included), so that a busy machine shows less than in wall time.
 */
const META: BatchMeta = {
  signal: 'traces',
  tenant: 'default',
  project: '',
  principal: '',
  source: 'bench',
  receivedAtMs: 0,
  digest: new Uint8Array(16),
}
const REQUESTS = Array.from({ length: 32 }, (_, seed) => standardRequest(seed + 1, 512))
const SMALL = Array.from({ length: 1024 }, (_, seed) => standardRequest(seed + 100, 1))
const KEYS = [
  'gen_ai.operation.name',
  'gen_ai.request.model',
  'gen_ai.usage.input_tokens',
  'gen_ai.usage.output_tokens',
].map(keyId)
const ROUNDS = 15

interface Variant {
  readonly name: string
  readonly unit: string
  /** Does the work once; returns how many units it did. */
  readonly run: () => number
}

let sum = 0

function scanAll(): number {
  let rows = 0
  for (const bytes of REQUESTS) rows += decodeBatch(bytes, META).rows
  return rows
}

function scanAndRead(): number {
  let rows = 0
  for (const bytes of REQUESTS) {
    const batch = decodeBatch(bytes, META)
    for (let row = 0; row < batch.rows; row++) {
      for (const key of KEYS) {
        const ref = batch.attr(row, key)
        if (ref >= 0) sum += batch.size(ref)
      }
      sum += batch.startMs(row)
    }
    rows += batch.rows
  }
  return rows
}

function scanAndEdit(): number {
  let rows = 0
  for (const bytes of REQUESTS.slice(0, 4)) {
    const batch = decodeBatch(bytes, META)
    for (let row = 0; row < batch.rows; row += 16) batch.set(row, KEYS[0]!, 'text_completion')
    sum += batch.encode().length
    rows += batch.rows
  }
  return rows
}

function scanSmall(): number {
  for (const bytes of SMALL) sum += decodeBatch(bytes, META).rows
  return SMALL.length
}

const variants: readonly Variant[] = [
  { name: 'scan, 512 spans', unit: 'M spans/s', run: scanAll },
  { name: 'scan, 4 attributes and the time read', unit: 'M spans/s', run: scanAndRead },
  { name: 'scan, 1 span in 16 edited, encode', unit: 'M spans/s', run: scanAndEdit },
  { name: 'scan, 1 span', unit: 'M batches/s', run: scanSmall },
]

function main(): void {
  for (const variant of variants) for (let i = 0; i < 5; i++) variant.run()
  const rates = variants.map(() => [] as number[])
  for (let round = 0; round < ROUNDS; round++) {
    for (const [index, variant] of variants.entries()) {
      const start = process.cpuUsage()
      let units = 0
      for (let i = 0; i < 4; i++) units += variant.run()
      const used = process.cpuUsage(start)
      rates[index]!.push(units / (used.user + used.system))
    }
  }
  const size = REQUESTS.reduce((total, bytes) => total + bytes.length, 0) / REQUESTS.length
  process.stdout.write(
    `node ${process.version}, request of ${Math.round(size)} bytes, median of ${ROUNDS} rounds\n`,
  )
  for (const [index, variant] of variants.entries()) {
    const sorted = rates[index]!.sort((a, b) => a - b)
    const median = sorted[sorted.length >> 1]!
    process.stdout.write(`${variant.name.padEnd(40)} ${median.toFixed(3)} ${variant.unit}\n`)
  }
  if (sum === 0) process.exitCode = 1
}

main()
