import pino from 'pino'
import type { Head } from '../pipeline/admission.ts'
import { decodeBatch } from '../pipeline/batch/otlp-batch.ts'
import { ACCEPTED } from '../pipeline/consumer.ts'
import type { Context } from '../pipeline/factory.ts'
import { NOBODY_KNOWN } from '../pipeline/identity/view.ts'
import { ByteGate } from '../pipeline/intake.ts'
import { Pressure } from '../pipeline/pressure.ts'
import { createMeter } from '../pipeline/telemetry/prom-meter.ts'
import { NO_USAGE } from '../pipeline/usage/usage.ts'
import { limits } from '../processors/limits/factory.ts'
import { standardRequest } from './shape.ts'

const limitsMaker = await limits.load()

/**
 * What limits cost a request: admission, the judgement of its spans, and the account when it is answered, with every
 * limit set. `node dist/bench/limits.bench.js` after a build; medians over rounds.
 */
const ROUNDS = 300
const PER_ROUND = 50
const META = { signal: 'traces', tenant: 'acme', project: '', principal: '', source: 'bench' } as const

const ALL = {
  events_per_minute: 1e12,
  bytes_per_second: 1e12,
  in_flight_bytes: '1GiB',
  request_bytes: '64MiB',
  spans_per_day: 1e12,
  usd_per_day: 1e9,
}

function processorOf() {
  const context = {
    log: pino({ level: 'silent' }),
    meter: createMeter(),
    clock: Date.now,
    intake: new ByteGate(1e9),
    pressure: new Pressure(),
    usage: NO_USAGE,
    identity: NOBODY_KNOWN,
  } as unknown as Context
  return limitsMaker.create(limits.config.parse({ tenants: { acme: ALL } }), context)
}

/** ns per request. */
function round(processor: ReturnType<typeof processorOf>, request: Uint8Array): number {
  const batches = Array.from({ length: PER_ROUND }, () =>
    decodeBatch(request, { ...META, receivedAtMs: Date.now(), digest: new Uint8Array(16) }),
  )
  const head = { declaredBytes: request.length } as Head
  const begun = process.hrtime.bigint()
  for (const batch of batches) {
    const admission = processor.admit?.(head, META)
    if (admission === undefined || admission instanceof Promise) throw new Error('the request was refused')
    admission.hold?.(request.length)
    void processor.process(batch)
    processor.settle?.(batch, ACCEPTED)
    admission.release?.()
  }
  return Number(process.hrtime.bigint() - begun) / PER_ROUND
}

const processor = processorOf()
for (const spans of [1, 100, 512]) {
  const request = standardRequest(1, spans)
  const times = Array.from({ length: ROUNDS }, () => round(processor, request)).toSorted((a, b) => a - b)
  const at = (share: number): number => (times[Math.floor(ROUNDS * share)] ?? 0) / 1000
  process.stdout.write(
    `${spans} spans: ${at(0.5).toFixed(1)} µs per request (p90 ${at(0.9).toFixed(1)}), ${((at(0.5) / spans) * 1000).toFixed(0)} ns per span\n`,
  )
}
