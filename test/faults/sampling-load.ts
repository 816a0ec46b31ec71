import { createHash } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { writeRequest, type SpanFields } from '../../proto/otlp/write.ts'
import { randomOf } from './world.ts'

/** Traces whose fate the policies of `sampling.test.ts` decide, their spans in any order over several senders. */
export interface ShuffledPlan {
  readonly traces: number
  readonly spansPerTrace: number
  readonly senders: number
  readonly seed: number
  /** URL of OTLP/HTTP, asked anew for each attempt. */
  readonly endpoint: () => string
  /** Least time over which the requests are spread. */
  readonly overMs: number
  /** Spans of a trace lie within this share of all requests. */
  readonly spread: number
}

const SPANS_PER_REQUEST = 400
const START_NS = 1_790_000_000_000_000_000n

export function traceIdOf(trace: number): Buffer {
  return createHash('sha256').update(`trace ${trace}`).digest().subarray(0, 16)
}

/** Deterministic by trace and span: one trace in 13 has an error, one in 17 a slow span, and so on. */
export function spanOf(trace: number, index: number): SpanFields {
  const kind = index === trace % 7 ? trace : -1
  const ms = kind > 0 && kind % 17 === 0 ? 1700 : 20
  const startNs = START_NS + BigInt(trace) * 1_000_000n + BigInt(index) * 1_000_000n
  return {
    traceId: traceIdOf(trace),
    spanId: createHash('sha256').update(`span ${trace} ${index}`).digest().subarray(0, 8),
    name: `step ${index}`,
    kind: 1,
    startNs,
    endNs: startNs + BigInt(ms) * 1_000_000n,
    attributes: [
      ['step', index],
      ['plan', trace % 5 === 0 ? 'paid' : 'free'],
      ...(trace % 29 === 0 ? ([['probe', true]] as const) : []),
      ...(kind > 0 && kind % 19 === 0 ? ([['score', 90]] as const) : []),
    ],
    statusCode: kind > 0 && kind % 13 === 0 ? 2 : 0,
  }
}

/** Sends every span until it is acknowledged, by equal requests; resolves with the number of attempts. */
export async function sendShuffled(plan: ShuffledPlan, signal: AbortSignal): Promise<number> {
  const requests = await plannedRequests(plan)
  const begun = performance.now()
  let next = 0
  let attempts = 0
  const worker = async () => {
    while (next < requests.length) {
      const index = next++
      const early = begun + (plan.overMs * index) / requests.length - performance.now()
      if (early > 0) await delay(early)
      attempts += await sendOne(plan.endpoint, encode(requests[index] ?? []), signal)
    }
  }
  await Promise.all(Array.from({ length: plan.senders }, worker))
  return attempts
}

type SpanRef = readonly [trace: number, index: number]

/** All spans, by a random place near the one of their trace. */
async function plannedRequests({ traces, spansPerTrace, seed, spread }: ShuffledPlan): Promise<SpanRef[][]> {
  const random = randomOf(seed)
  const count = traces * spansPerTrace
  const places = new Float64Array(count)
  for (let span = 0; span < count; span++) {
    places[span] = Math.floor(span / spansPerTrace) / traces + random() * spread
  }
  const order = Uint32Array.from(places, (_, span) => span).sort((a, b) => places[a]! - places[b]!)
  const requests: SpanRef[][] = []
  for (let at = 0; at < count; at += SPANS_PER_REQUEST) {
    const spans = order.subarray(at, at + SPANS_PER_REQUEST)
    requests.push(Array.from(spans, (span) => [Math.floor(span / spansPerTrace), span % spansPerTrace]))
  }
  return requests
}

function encode(spans: readonly SpanRef[]): Buffer {
  const scope = { name: 'test', version: '1' }
  return writeRequest([
    {
      resource: [['service.name', 'agent']],
      scope,
      spans: spans.map(([trace, index]) => spanOf(trace, index)),
    },
  ])
}

async function sendOne(endpoint: () => string, body: Buffer, signal: AbortSignal): Promise<number> {
  for (let attempts = 1; ; attempts++) {
    signal.throwIfAborted()
    try {
      const answer = await fetch(`${endpoint()}/v1/traces`, {
        method: 'POST',
        headers: { 'content-type': 'application/x-protobuf' },
        body,
        signal: AbortSignal.any([signal, AbortSignal.timeout(5000)]),
      })
      await answer.arrayBuffer()
      if (answer.ok) return attempts
      if (answer.status < 429) throw new Error(`the daemon refused: ${answer.status}`)
    } catch (error) {
      if (error instanceof Error && error.message.startsWith('the daemon refused')) throw error
    }
    await delay(50)
  }
}
