import { pino } from 'pino'
import { decodeBatch } from '../../pipeline/batch/otlp-batch.ts'
import { loadWalDriver } from '../../pipeline/wal/driver-config.ts'
import { decodeEnvelope } from '../../pipeline/wal/envelope.ts'
import { config } from '../../connectors/wal/config.ts'
import { keyId } from '../../pipeline/batch/keys.ts'
import { NONE } from '../../pipeline/batch/batch.ts'
import { testMeta } from '../support/batch-meta.ts'

/** What the oracle knows of a span: the policies of `sampling.test.ts` look at nothing else. */
interface SeenSpan {
  readonly ms: number
  readonly failed: boolean
  readonly plan: string
  readonly probe: boolean
  readonly score: number
}

interface SeenTrace {
  readonly id: Buffer
  readonly order: number
  readonly firstMs: number
  readonly inTime: SeenSpan[]
  all: number
}

export interface OraclePlan {
  readonly directory: string
  readonly waitMs: number
  /** A bucket of `burst` spans, filled by so many a second. */
  readonly spansPerSecond: number
  readonly burst: number
}

/**
 * The fate of every trace, from the whole log at once and by plain means: all spans of each trace in memory, all
 * traces sorted by when they are due. Hex trace ids of those that are kept.
 */
export async function oracle(plan: OraclePlan): Promise<{ kept: Set<string>; traces: number; late: number }> {
  const traces = await readTraces(plan)
  const due = [...traces.values()].toSorted((a, b) => a.firstMs - b.firstMs || a.order - b.order)
  const kept = new Set<string>()
  const bucket = { tokens: plan.burst, atMs: 0 }
  let late = 0
  for (const trace of due) {
    late += trace.all - trace.inTime.length
    if (isKept(trace, plan, bucket)) kept.add(trace.id.toString('hex'))
  }
  return { kept, traces: traces.size, late }
}

function isKept(
  { id, inTime, firstMs }: SeenTrace,
  { waitMs, spansPerSecond, burst }: OraclePlan,
  bucket: { tokens: number; atMs: number },
): boolean {
  const paid = inTime.some(({ plan }) => plan === 'paid')
  const scored = inTime.some(({ score }) => score >= 80 && score <= 100)
  let limited = false
  if (scored) {
    const nowMs = firstMs + waitMs
    bucket.tokens = Math.min(burst, bucket.tokens + ((nowMs - bucket.atMs) / 1000) * spansPerSecond)
    bucket.atMs = nowMs
    limited = inTime.length <= bucket.tokens
    if (limited) bucket.tokens -= inTime.length
  }
  if (inTime.some(({ probe }) => probe)) return false
  const share = (percent: number) => lastBits(id) >= 2 ** 40 * (1 - percent / 100)
  return (
    inTime.some(({ failed }) => failed) ||
    inTime.some(({ ms }) => ms > 1500) ||
    limited ||
    (paid && share(50)) ||
    share(5)
  )
}

/** The upper 40 of the last 56 bits: the thresholds of the test have no more. */
function lastBits(id: Buffer): number {
  return id.readUIntBE(9, 5)
}

const STEP = { plan: keyId('plan'), probe: keyId('probe'), score: keyId('score') }

async function readTraces({ directory, waitMs }: OraclePlan): Promise<Map<string, SeenTrace>> {
  const createDriver = await loadWalDriver(config.parse({ driver: 'embedded', directory }))
  const driver = createDriver({ log: pino({ level: 'silent' }), clock: Date.now })
  await driver.open()
  const traces = new Map<string, SeenTrace>()
  const seen = new Set<string>()
  const port = driver.reader(1)
  try {
    const { lastSeq } = await driver.info()
    for (let seq = 0, clockMs = 0; seq < lastSeq;) {
      for (const message of await port.next(64 * 1024 * 1024, AbortSignal.timeout(10_000))) {
        seq = message.seq
        clockMs = Math.max(clockMs, message.timeMs)
        for (const { digest, bytes, part } of decodeEnvelope(message.bytes, seq)) {
          const id = `${Buffer.from(digest).toString('hex')} ${part}`
          if (!seen.has(id)) note(traces, Buffer.from(bytes), clockMs, waitMs)
          seen.add(id)
        }
      }
    }
  } finally {
    await port.close()
    await driver.close()
  }
  return traces
}

function note(traces: Map<string, SeenTrace>, bytes: Buffer, clockMs: number, waitMs: number): void {
  const batch = decodeBatch(bytes, testMeta())
  for (let row = 0; row < batch.rows; row++) {
    const id = Buffer.from(batch.traceId(row))
    const key = id.toString('hex')
    let trace = traces.get(key)
    if (trace === undefined) {
      trace = { id, order: traces.size, firstMs: clockMs, inTime: [], all: 0 }
      traces.set(key, trace)
    }
    trace.all++
    if (clockMs > trace.firstMs + waitMs) continue
    const score = batch.attr(row, STEP.score)
    trace.inTime.push({
      ms: Number(batch.endNs(row) - batch.startNs(row)) / 1e6,
      failed: batch.statusCode(row) === 2,
      plan: batch.text(batch.attr(row, STEP.plan)),
      probe: batch.attr(row, STEP.probe) !== NONE,
      score: score === NONE ? -1 : batch.number(score),
    })
  }
}
