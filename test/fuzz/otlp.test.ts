import { expect, test } from 'vitest'
import { fuzz, fuzzJson } from './otlp.ts'

/** `FUZZ_COUNT=1000000 FUZZ_SEED=7 npx vitest run test/fuzz` goes on for longer; the seed is in the title. */
const COUNT = Number(process.env['FUZZ_COUNT'] ?? 4000)
const SEED = Number(process.env['FUZZ_SEED'] ?? 1)
const TIMEOUT_MS = 60_000 + COUNT * 5

test(
  `damaged protobuf is refused or read rightly (seed ${SEED})`,
  () => {
    const result = fuzz(COUNT, SEED, (seen, wanted, input) => {
      expect(seen, Buffer.from(input).toString('hex')).toEqual(wanted)
    })
    // Both must happen, or the mutations are too timid or too wild to find anything.
    expect(result.taken).toBeGreaterThan(COUNT / 20)
    expect(result.refused).toBeGreaterThan(COUNT / 20)
  },
  TIMEOUT_MS,
)

test(
  `damaged JSON is refused or taken (seed ${SEED})`,
  () => {
    const result = fuzzJson(COUNT, SEED)
    expect(result.taken).toBeGreaterThan(COUNT / 50)
    expect(result.refused).toBeGreaterThan(COUNT / 20)
  },
  TIMEOUT_MS,
)
