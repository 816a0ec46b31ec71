import { memoryLimit } from './process-memory.ts'

const MIB = 1024 * 1024
/** What both processes take with nothing under way, code included; embedded ClickHouse is not in it. */
const IDLE_BYTES = 160 * MIB
/** A byte in flight is held as it came, inflated or laid out for the log, and by the log's own transaction; then by the store process. */
const HELD_PER_BYTE = 8
/** The same of one request that is alone. */
const HELD_ALONE = 4
const INTAKE_BYTES = 192 * MIB
/** Two ranges of 64 MiB. */
const IDLE_POOL_BYTES = 128 * MIB
/** So much still lets a daemon work, slowly, where even what it takes idle is over the limit. */
const LEAST_BYTES = 4 * MIB
/** With less the heap stays close to what lives in it, for more CPU. */
const ROOMY_BYTES = 1024 * MIB

/** How the memory that weir may have is divided. Where there is plenty nothing depends on how much. */
export interface MemoryBudget {
  readonly limitBytes: number
  /** Bytes of requests in flight. */
  readonly intakeBytes: number
  /** Largest request, by what is held of it: its body as sent, and inflated. */
  readonly requestBytes: number
  /** What each process keeps for use again. */
  readonly idlePoolBytes: number
  readonly isRoomy: boolean
  /** Of V8, in the store process. */
  readonly semiSpaceMib: number
}

/** By the cgroup's limit, or the machine's memory. */
export function memoryBudget(limitBytes = memoryLimit()): MemoryBudget {
  const free = Math.max(0, limitBytes - IDLE_BYTES)
  return {
    limitBytes,
    intakeBytes: between(LEAST_BYTES, Math.floor(free / HELD_PER_BYTE), INTAKE_BYTES),
    requestBytes: Math.max(LEAST_BYTES, Math.floor(free / HELD_ALONE)),
    idlePoolBytes: between(LEAST_BYTES, Math.floor(limitBytes / 16), IDLE_POOL_BYTES),
    isRoomy: limitBytes >= ROOMY_BYTES,
    // A power of two; 64 from 4 GiB on.
    semiSpaceMib: between(4, 2 ** Math.floor(Math.log2(limitBytes / (64 * MIB))), 64),
  }
}

function between(least: number, value: number, most: number): number {
  return Math.min(most, Math.max(least, value))
}
