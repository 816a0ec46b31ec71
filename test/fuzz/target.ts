import { isDeepStrictEqual } from 'node:util'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { generator, mutate, type Random } from './mutate.ts'

/** One decoder under fuzz. */
export interface Target {
  readonly name: string
  /** Valid inputs, to be damaged. */
  seeds(seed: number): readonly Uint8Array[]
  /** True: taken; false: refused as it should be. Throws on anything else. */
  run(input: Uint8Array, random: Random): boolean | Promise<boolean>
}

export interface FuzzResult {
  readonly cases: number
  readonly taken: number
  readonly refused: number
  /** The longest time for one input, in ms: the least of three runs where it was long. */
  readonly slowestMs: number
  /** What the heap grew by between a tenth of the cases and all of them, in bytes. */
  readonly grownBytes: number
}

/** Longer than this is measured again: the machine may have been busy elsewhere. */
const LONG_MS = 20
const EVERY = 1000

export async function fuzz(target: Target, count: number, seed: number): Promise<FuzzResult> {
  const random = generator(seed)
  const seeds = target.seeds(seed)
  let taken = 0
  let slowestMs = 0
  let early = 0
  for (let n = 0; n < count; n++) {
    if (n === Math.floor(count / 10)) early = heapBytes()
    const input = mutate(seeds[random(seeds.length)]!, random)
    const begun = performance.now()
    if (await named(target, input, random)) taken++
    const ms = performance.now() - begun
    if (ms > slowestMs) slowestMs = ms > LONG_MS ? Math.max(slowestMs, await again(target, input, ms)) : ms
    // Timers and the test runner want their turn, too.
    if (n % EVERY === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  return { cases: count, taken, refused: count - taken, slowestMs, grownBytes: heapBytes() - early }
}

async function again(target: Target, input: Uint8Array, ms: number): Promise<number> {
  let least = ms
  for (let i = 0; i < 2; i++) {
    const begun = performance.now()
    await target.run(input, generator(1))
    least = Math.min(least, performance.now() - begun)
  }
  return least
}

/** The input that did it, so that it can be run again. */
async function named(target: Target, input: Uint8Array, random: Random): Promise<boolean> {
  try {
    return await target.run(input, random)
  } catch (cause) {
    const shown = Buffer.from(input).toString('base64').slice(0, 4000)
    throw new Error(`${target.name} failed on (base64) ${shown}: ${String(cause)}`, { cause })
  }
}

/** The value, or undefined when what was thrown is a refusal. */
export function unless<T>(isRefusal: (error: unknown) => boolean, decode: () => T): T | undefined {
  try {
    return decode()
  } catch (error) {
    if (isRefusal(error)) return undefined
    throw error
  }
}

export function same(seen: unknown, wanted: unknown, input: Uint8Array): void {
  if (isDeepStrictEqual(seen, wanted)) return
  throw new Error(`read differently by the oracle: ${Buffer.from(input).toString('hex').slice(0, 4000)}`)
}

let collect: (() => void) | undefined

/** After a full collection. */
function heapBytes(): number {
  if (collect === undefined) {
    setFlagsFromString('--expose-gc')
    collect = runInNewContext('gc') as () => void
  }
  collect()
  return process.memoryUsage().heapUsed
}
