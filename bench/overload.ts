import { setTimeout as delay } from 'node:timers/promises'
import type { LoadPlan, LoadResult } from './load/plan.ts'
import { startRig, type Rig, type RigPlan } from './rig.ts'
import type { Figures } from './scenarios.ts'
import { Page } from './scrape.ts'

/** What a daemon does with more than it can take, and with what has piled up: scenarios of several phases. */

const LOAD = {
  protocol: 'grpc',
  spansPerRequest: 512,
  distinct: 64,
  connections: 4,
  inFlight: 16,
  warmupMs: 3000,
} as const
/** Shorter, an empty store takes more than it can go on taking: nothing is merged yet, and the log's file still grows. */
const PEAK_SECONDS = 60
/** Requests under way at once, some 200 MiB: more than intake holds, so that it must refuse. */
const OVER_IN_FLIGHT = 512
/** What comes in while a backlog drains: the collector's own testbed offers 10,000 items/s. */
const DRAIN_RATE = 10_000
const DRAIN_LIMIT_MS = 300_000

export type Wal = RigPlan['wal']
type Say = (text: string) => void

/** The peak of a closed loop, then twice as much offered: goodput, refusals, memory and its slope. */
export async function overload(wal: Wal, seconds: number, say: Say): Promise<Figures> {
  const rig = await startRig({ wal, store: true, durability: 'process' })
  try {
    say(`overload-${wal}: the peak …`)
    const peak = await load(rig, { durationMs: PEAK_SECONDS * 1000 })
    const offered = Math.round(2 * peak.ackedSpansPerSecond)
    say(`overload-${wal}: ${offered} spans/s offered for ${seconds} s …`)
    const memory = watchMemory(rig)
    const before = rig.usage()
    const over = await load(rig, {
      spansPerSecond: offered,
      inFlight: OVER_IN_FLIGHT,
      distinct: OVER_IN_FLIGHT,
      durationMs: seconds * 1000,
    })
    const after = rig.usage()
    const { maxMiB, perMinute } = memory.stop()
    const share = Math.round((100 * over.ackedSpansPerSecond) / peak.ackedSpansPerSecond)
    return {
      ...figuresOf(`overload-${wal}`, over, before, after),
      rssMiB: maxMiB,
      note:
        `offered ${offered} spans/s, twice the peak of ${Math.round(peak.ackedSpansPerSecond)}: goodput ${share} % of it; ` +
        `memory grew by ${text(perMinute)} MiB/min, RSS is the most that was seen; ${over.firstError}`,
    }
  } finally {
    await rig.stop()
  }
}

/** Intake flat out makes a backlog; then 10,000 spans/s go on coming while it drains. */
export async function drain(wal: Wal, seconds: number, say: Say): Promise<Figures> {
  const rig = await startRig({ wal, store: true, durability: 'process' })
  try {
    say(`drain-${wal}: ${seconds} s flat out …`)
    await load(rig, { durationMs: seconds * 1000 })
    const before = { usage: rig.usage(), page: await Page.of(rig.metrics), atMs: performance.now() }
    const backlog = behind(before.page)
    say(`drain-${wal}: ${Math.round(backlog)} spans behind, ${DRAIN_RATE} more each second …`)
    const running = load(rig, {
      spansPerRequest: 100,
      spansPerSecond: DRAIN_RATE,
      durationMs: DRAIN_LIMIT_MS,
      untilIdle: () => isDrained(rig),
    })
    const result = await running
    const after = { usage: rig.usage(), page: await Page.of(rig.metrics), atMs: performance.now() }
    const elapsed = (after.atMs - before.atMs) / 1000
    const stored = (sent(after.page) - sent(before.page)) / elapsed
    return {
      ...figuresOf(`drain-${wal}`, result, before.usage, after.usage),
      storedPerSecond: stored,
      note: `${Math.round(backlog)} spans drained in ${Math.round(elapsed)} s at ${(stored / DRAIN_RATE).toFixed(1)} times the input`,
    }
  } finally {
    await rig.stop()
  }
}

async function load(
  rig: Rig,
  { untilIdle, ...change }: Partial<LoadPlan> & { readonly untilIdle?: () => Promise<boolean> },
): Promise<LoadResult> {
  const plan: LoadPlan = { ...LOAD, endpoint: rig.grpc, durationMs: 0, ...change }
  if (untilIdle === undefined) return rig.load(plan)
  // In slices, since a run cannot be ended early: each is short against what drains.
  let last: LoadResult | undefined
  const endMs = performance.now() + plan.durationMs
  while (performance.now() < endMs && !(await untilIdle()))
    last = await rig.load({ ...plan, warmupMs: 100, durationMs: 2000 })
  return last ?? rig.load({ ...plan, warmupMs: 100, durationMs: 2000 })
}

/** No more than a second's worth is waiting. */
async function isDrained(rig: Rig): Promise<boolean> {
  return behind(await Page.of(rig.metrics)) <= DRAIN_RATE
}

/** Not by the gauge of the lag, which is an estimate made every few seconds. */
function behind(page: Page): number {
  return page.sum('otelcol_receiver_accepted_spans') - sent(page)
}

/** Passed, not sent: where the load repeats a request, the store knows it for a duplicate. */
function sent(page: Page): number {
  return page.sum('weir_ledger_spans', 'outcome="passed"')
}

interface Memory {
  readonly maxMiB: Readonly<Record<string, number>>
  readonly perMinute: Readonly<Record<string, number>>
}

/** Every second; the slope is of the second half, when processes have warmed up. */
function watchMemory(rig: Rig): { stop(): Memory } {
  const samples: { readonly atMs: number; readonly mib: Readonly<Record<string, number>> }[] = []
  const ended = new AbortController()
  void (async () => {
    while (!ended.signal.aborted) {
      const usage = Object.entries(rig.usage()).map(([name, { rssMiB }]) => [name, rssMiB] as const)
      samples.push({ atMs: performance.now(), mib: Object.fromEntries(usage) })
      await delay(1000, undefined, { signal: ended.signal }).catch(() => undefined)
    }
  })()
  return {
    stop() {
      ended.abort()
      const late = samples.slice(Math.floor(samples.length / 2))
      const [first, last] = [late[0], late.at(-1)]
      const minutes = ((last?.atMs ?? 0) - (first?.atMs ?? 0)) / 60_000
      const of = (pick: (name: string) => number): Record<string, number> =>
        Object.fromEntries(Object.keys(last?.mib ?? {}).map((name) => [name, pick(name)]))
      return {
        maxMiB: of((name) => Math.max(...samples.map(({ mib }) => mib[name] ?? 0))),
        perMinute: of(
          (name) => ((last?.mib[name] ?? 0) - (first?.mib[name] ?? 0)) / Math.max(minutes, 1 / 60),
        ),
      }
    },
  }
}

function figuresOf(
  scenario: string,
  result: LoadResult,
  before: ReturnType<Rig['usage']>,
  after: ReturnType<Rig['usage']>,
): Figures {
  const cpu = Object.entries(after).map(([name, { cpuSeconds }]) => {
    const used = cpuSeconds - (before[name]?.cpuSeconds ?? 0)
    return [name, (used / Math.max(1, result.ackedSpansTotal)) * 1e6] as const
  })
  return {
    scenario,
    ackedPerSecond: result.ackedSpansPerSecond,
    ackP50Ms: result.ackP50Ms,
    ackP99Ms: result.ackP99Ms,
    cpuSecondsPerMillion: { ...Object.fromEntries(cpu), client: result.clientCpuSecondsPerMillion },
    rssMiB: Object.fromEntries(Object.entries(after).map(([name, { rssMiB }]) => [name, rssMiB])),
    refused: result.refusedRequests,
    failed: result.failedRequests,
  }
}

function text(values: Readonly<Record<string, number>>): string {
  return Object.entries(values)
    .map(([name, value]) => `${name} ${value.toFixed(1)}`)
    .join(', ')
}
