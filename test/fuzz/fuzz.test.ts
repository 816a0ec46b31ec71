import { expect, test } from 'vitest'
import { grpcMessage, gzip } from './framing.ts'
import { jsonl } from './jsonl.ts'
import { otlpJson, otlpProtobuf } from './otlp.ts'
import { fuzz, type Target } from './target.ts'
import { toonJson, toonNdjson, toonText } from './toon.ts'

/**
 * Every decoder of what senders write, on damaged input: no crash, no hang, no growth. A short round here;
 * `npm run test:fuzz` goes on for a million cases each, `npm run test:fuzz -- -t jsonl` for one decoder.
 * FUZZ_COUNT and FUZZ_SEED say how many and which.
 */
const COUNT = Number(process.env['FUZZ_COUNT'] ?? 3000)
const SEED = Number(process.env['FUZZ_SEED'] ?? 1)
const TIMEOUT_MS = 60_000 + COUNT * 5
const MAX_MS = 100
/** Names of attributes that were met before are kept: 16,384 of them, 8 MiB at worst (pipeline/batch/keys.ts). */
const MAX_GROWTH = 24 * 1024 * 1024

const TARGETS: readonly Target[] = [
  otlpProtobuf,
  otlpJson,
  gzip,
  grpcMessage,
  jsonl,
  toonJson,
  toonNdjson,
  toonText,
]

test.each(TARGETS.map((target) => [target.name, target] as const))(
  `%s: refused or read rightly (seed ${SEED})`,
  async (_, target) => {
    const result = await fuzz(target, COUNT, SEED)
    if (COUNT >= 100_000) process.stdout.write(`${target.name} ${JSON.stringify(result)}\n`)
    // Both must happen, or the mutations are too timid or too wild to find anything.
    expect(result.taken).toBeGreaterThan(COUNT / 50)
    expect(result.refused).toBeGreaterThan(COUNT / 50)
    expect(result.slowestMs).toBeLessThan(MAX_MS)
    expect(result.grownBytes).toBeLessThan(MAX_GROWTH)
  },
  TIMEOUT_MS,
)
