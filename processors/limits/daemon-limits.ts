import type { ByteGate } from '../../pipeline/intake.ts'
import type { Pressure } from '../../pipeline/pressure.ts'
import type { LimitsConfig } from './config.ts'
import type { MemoryGuard } from './memory.ts'
import type { Refusal } from './refusals.ts'

const RETRY_MS = 1000
/** A WAL is looked at every 2 s, and stores take their time. */
const WAL_RETRY_MS = 5000
const LETTERS_RETRY_MS = 10_000

export interface DaemonFacts {
  readonly config: LimitsConfig
  readonly memory: MemoryGuard
  readonly intake: ByteGate
  readonly pressure: Pressure
}

/** Why nobody's, or nothing of this tenant's, request is taken now; undefined: it is. */
export function daemonRefusal(
  facts: DaemonFacts,
  tenant: string,
  bytes: number,
  nowMs: number,
): Refusal | undefined {
  if (facts.memory.state !== 'ok') return overloaded('memory', 'the daemon is short of memory', RETRY_MS)
  return inFlight(facts, bytes) ?? backlog(facts) ?? letters(facts, tenant, nowMs)
}

/** The same for a request that is being read, of which the intake gate holds `bytes` already. */
export function sheds({ memory, config, intake }: DaemonFacts, bytes: number): Refusal | undefined {
  if (memory.state === 'hard') return overloaded('memory', 'the daemon is short of memory', RETRY_MS)
  const alone = intake.held === bytes
  return alone || intake.held <= config.in_flight_bytes ? undefined : full(config.in_flight_bytes)
}

function inFlight({ config, intake }: DaemonFacts, bytes: number): Refusal | undefined {
  const limit = Math.min(config.in_flight_bytes, intake.limit)
  if (intake.held === 0 || intake.held + bytes <= limit) return undefined
  return full(limit)
}

function full(limit: number): Refusal {
  return overloaded('in_flight_bytes', `over ${limit} bytes of requests are in flight`, RETRY_MS)
}

function backlog({ config, pressure }: DaemonFacts): Refusal | undefined {
  const { max_undelivered_percent: percent, max_undelivered_age: maxAge = Number.POSITIVE_INFINITY } =
    config.wal
  for (const { undeliveredBytes, maxBytes, undeliveredMs } of pressure.wals().values()) {
    if (undeliveredBytes >= (percent / 100) * maxBytes) {
      const message = `the stores are ${undeliveredBytes} bytes behind, over ${percent} % of what the write-ahead log holds`
      return overloaded('wal.max_undelivered_percent', message, WAL_RETRY_MS)
    }
    if (undeliveredMs > maxAge) {
      const message = `the stores are ${Math.round(undeliveredMs / 1000)} s behind, over ${maxAge / 1000} s`
      return overloaded('wal.max_undelivered_age', message, WAL_RETRY_MS)
    }
  }
  return undefined
}

function letters({ config, pressure }: DaemonFacts, tenant: string, nowMs: number): Refusal | undefined {
  const max = config.dead_letters.max_spans_per_minute
  if (pressure.deadLettersPerMinute(tenant, nowMs) <= max) return undefined
  const message = `the stores refused over ${max} of this tenant’s spans within a minute`
  return overloaded('dead_letters.max_spans_per_minute', message, LETTERS_RETRY_MS)
}

function overloaded(limit: Refusal['limit'], message: string, afterMs: number): Refusal {
  return { limit, code: 'OVERLOADED', message, afterMs }
}
