import { cpus } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import type { LoadPlan, LoadResult } from './load/plan.ts'
import { startRig, type Rig, type RigPlan, type Usage } from './rig.ts'
import { Page } from './scrape.ts'

/** One row of the results: what was asked, what came out. Figures that a scenario does not measure are absent. */
export interface Figures {
  readonly scenario: string
  readonly ackedPerSecond: number
  readonly storedPerSecond?: number
  readonly ackP50Ms: number
  readonly ackP99Ms: number
  /** CPU seconds per million acked spans, by process; `client` is the generator's. */
  readonly cpuSecondsPerMillion: Readonly<Record<string, number>>
  readonly rssMiB: Readonly<Record<string, number>>
  /** Received to stored, where a store pipeline runs. */
  readonly storedP50Ms?: number
  /** Spans not yet stored: a third into the run, and at its end. */
  readonly lagSpans?: readonly [early: number, late: number]
  readonly refused: number
  readonly failed: number
  readonly note?: string
}

export interface Scenario {
  readonly name: string
  readonly summary: string
  readonly rig: RigPlan
  readonly load: Omit<LoadPlan, 'endpoint'>
}

const BIG = { spansPerRequest: 512, distinct: 64, connections: 4, inFlight: 16, warmupMs: 3000 } as const
const ONE = { spansPerRequest: 1, distinct: 4096, connections: 4, inFlight: 256, warmupMs: 3000 } as const
const OFF = { store: false, durability: 'process' } as const
const ON = { store: true, durability: 'process' } as const

export function scenarios(seconds: number): Scenario[] {
  const durationMs = seconds * 1000
  const big = { ...BIG, durationMs }
  const one = { ...ONE, durationMs }
  return [
    scenario(
      'acked-512-grpc-jetstream',
      'acked, 512-span requests, gRPC, JetStream, store off',
      { wal: 'jetstream', ...OFF },
      { ...big, protocol: 'grpc' },
    ),
    scenario(
      'acked-512-grpc-embedded',
      'acked, 512-span requests, gRPC, embedded WAL, store off',
      { wal: 'embedded', ...OFF },
      { ...big, protocol: 'grpc' },
    ),
    scenario(
      'acked-512-http-jetstream',
      'acked, 512-span requests, HTTP, JetStream, store off',
      { wal: 'jetstream', ...OFF },
      { ...big, protocol: 'http', connections: 16 },
    ),
    scenario(
      'acked-1-grpc-jetstream',
      'acked, 1-span requests, gRPC, JetStream, store off',
      { wal: 'jetstream', ...OFF },
      { ...one, protocol: 'grpc' },
    ),
    scenario(
      'acked-1-grpc-embedded',
      'acked, 1-span requests, gRPC, embedded WAL, store off',
      { wal: 'embedded', ...OFF },
      { ...one, protocol: 'grpc' },
    ),
    scenario(
      'acked-1-http-jetstream',
      'acked, 1-span requests, HTTP, JetStream, store off',
      { wal: 'jetstream', ...OFF },
      { ...one, protocol: 'http', connections: 64, inFlight: 64 },
    ),
    scenario(
      'acked-100-toon-embedded',
      'acked, batches of 100 agent events, toon, embedded WAL, store off',
      { wal: 'embedded', ...OFF },
      { ...big, protocol: 'toon', spansPerRequest: 100, connections: 16, inFlight: 16 },
    ),
    scenario(
      'acked-100-toon-jetstream',
      'acked, batches of 100 agent events, toon, JetStream WAL, embedded state, store off',
      { wal: 'jetstream', ...OFF },
      { ...big, protocol: 'toon', spansPerRequest: 100, connections: 16, inFlight: 16 },
    ),
    scenario(
      'backlog-512-grpc-jetstream',
      'acks while the store cannot keep up: 512-span requests, closed loop, cost and ClickHouse on',
      { wal: 'jetstream', ...ON },
      { ...big, protocol: 'grpc' },
    ),
    scenario(
      'strict-512-grpc-embedded',
      'acked, 512-span requests, gRPC, embedded WAL, strict',
      { wal: 'embedded', store: false, durability: 'strict' },
      { ...big, protocol: 'grpc' },
    ),
    scenario(
      'latency-10k-embedded',
      '10,000 spans/s, 100-span requests, cost and ClickHouse on: received to stored',
      { wal: 'embedded', ...ON },
      { ...big, protocol: 'grpc', spansPerRequest: 100, spansPerSecond: 10_000 },
    ),
  ]
}

function scenario(name: string, summary: string, rig: RigPlan, load: Omit<LoadPlan, 'endpoint'>): Scenario {
  return { name, summary, rig, load }
}

export async function runScenario({ name, rig: rigPlan, load }: Scenario): Promise<Figures> {
  const rig = await startRig(rigPlan)
  try {
    return await measure(name, rig, rigPlan.store, load)
  } finally {
    await rig.stop()
  }
}

async function measure(
  name: string,
  rig: Rig,
  isStoring: boolean,
  load: Omit<LoadPlan, 'endpoint'>,
): Promise<Figures> {
  const plan: LoadPlan = { ...load, endpoint: rig[load.protocol] }
  const running = rig.load(plan)
  await delay(plan.warmupMs + 500)
  const before = { usage: rig.usage(), page: await Page.of(rig.metrics), atMs: performance.now() }
  await delay(plan.durationMs / 3)
  const early = isStoring ? lagOf(await Page.of(rig.metrics)) : 0
  await delay((plan.durationMs * 2) / 3 - 1000)
  const after = { usage: rig.usage(), page: await Page.of(rig.metrics), atMs: performance.now() }
  const result = await running
  const seconds = (after.atMs - before.atMs) / 1000
  const spans = result.ackedSpansPerSecond * seconds
  return {
    scenario: name,
    ackedPerSecond: result.ackedSpansPerSecond,
    ackP50Ms: result.ackP50Ms,
    ackP99Ms: result.ackP99Ms,
    cpuSecondsPerMillion: {
      ...perMillion(before.usage, after.usage, spans),
      client: result.clientCpuSecondsPerMillion,
    },
    rssMiB: Object.fromEntries(
      Object.entries(after.usage).map(([process, usage]) => [process, usage.rssMiB]),
    ),
    refused: result.refusedRequests,
    failed: result.failedRequests,
    ...(isStoring ? stored(before.page, after.page, seconds, early) : {}),
    ...noteOf(result),
  }
}

function stored(before: Page, after: Page, seconds: number, early: number): Partial<Figures> {
  const sent = (page: Page): number => page.sum('otelcol_exporter_sent_spans', 'exporter="clickhouse"')
  return {
    storedPerSecond: (sent(after) - sent(before)) / seconds,
    storedP50Ms: after.quantile('weir_end_to_end_seconds', 0.5, before) * 1000,
    lagSpans: [early, lagOf(after)],
  }
}

function lagOf(page: Page): number {
  return page.sum('weir_wal_lag_spans')
}

function perMillion(
  before: Record<string, Usage>,
  after: Record<string, Usage>,
  spans: number,
): Record<string, number> {
  return Object.fromEntries(
    Object.entries(after).map(([process, usage]) => [
      process,
      ((usage.cpuSeconds - (before[process]?.cpuSeconds ?? 0)) / Math.max(1, spans)) * 1e6,
    ]),
  )
}

function noteOf(result: LoadResult): Partial<Figures> {
  return result.firstError === '' ? {} : { note: `first error: ${result.firstError}` }
}

/**
 * The highest offered rate at which what is not yet stored stays flat: starts from what the CPU seconds of a run under
 * full load allow, and steps down by 15 % until the lag at the end is no more than a second's worth above the lag a
 * third into the run. (Flat out, intake takes the CPU from the store, so that figure alone would be too low.)
 */
export async function sustainedStore(
  wal: RigPlan['wal'],
  seconds: number,
  say: (text: string) => void,
): Promise<Figures> {
  const load = { ...BIG, protocol: 'grpc' } as const
  const rig = { wal, ...ON }
  const flatOut = await runScenario({
    name: 'stored-flat-out',
    summary: '',
    rig,
    load: { ...load, durationMs: 15_000 },
  })
  let rate = affordable(flatOut)
  let figures = flatOut
  for (let tries = 0; tries < 8; tries++) {
    say(`offering ${rate} spans/s …`)
    figures = await runScenario({
      name: `stored-512-grpc-${wal}`,
      summary: '',
      rig,
      load: { ...load, spansPerSecond: rate, durationMs: seconds * 1000 },
    })
    const [early, late] = figures.lagSpans ?? [0, 0]
    if (late <= early + rate && figures.ackedPerSecond > rate * 0.98) break
    rate = Math.round((rate * 0.85) / 1000) * 1000
  }
  return {
    ...figures,
    note: `offered ${rate} spans/s; while intake ran flat out ${Math.round(flatOut.storedPerSecond ?? 0)} spans/s were stored`,
  }
}

/** Spans/s that all cores could take in and store, by the CPU seconds that each process used. */
function affordable({ cpuSecondsPerMillion, ackedPerSecond, storedPerSecond }: Figures): number {
  const { store = 0, ...others } = cpuSecondsPerMillion
  const intake = Object.values(others).reduce((sum, each) => sum + each, 0)
  const perStored = (store * ackedPerSecond) / Math.max(1, storedPerSecond ?? 0)
  return Math.round((cpus().length * 1000) / (intake + perStored)) * 1000
}
