import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import pino from 'pino'
import { afterEach, describe, expect, it } from 'vitest'
import type { Batch } from '../../pipeline/batch/batch.ts'
import { chain, entry } from '../../pipeline/chain.ts'
import type { Processor } from '../../pipeline/component.ts'
import { ACCEPTED, type Outcome } from '../../pipeline/consumer.ts'
import type { Context } from '../../pipeline/factory.ts'
import { retry } from '../../pipeline/fault.ts'
import { NOBODY_KNOWN } from '../../pipeline/identity/view.ts'
import type { Tenant } from '../../pipeline/identity/records.ts'
import { EmbeddedState } from '../../pipeline/state/embedded.ts'
import { createMeter } from '../../pipeline/telemetry/prom-meter.ts'
import { UsageBook } from '../../pipeline/usage/book.ts'
import { otlp } from '../../receivers/otlp/factory.ts'
import type { OtlpReceiver } from '../../receivers/otlp/otlp.ts'
import { ask, PROTOBUF, RawGrpcClient, readStatus, tracesRequest } from '../../test/contract/otlp-clients.ts'
import { toon } from '../../receivers/toon/factory.ts'
import type { ToonReceiver } from '../../receivers/toon/toon.ts'
import { receiverContext } from '../../test/contract/receiver.ts'
import { parsePrometheus } from '../../test/support/parse-prometheus.ts'
import { limits } from './factory.ts'

const limitsMaker = await limits.load()
const otlpMaker = await otlp.load()
const toonMaker = await toon.load()

/** Every limit over both transports: what the sender is told, what is counted, and that it ends with its cause. */

const NOON = Date.UTC(2026, 10, 21, 12)
const DAY_S = 12 * 3600
const cleanups: (() => Promise<unknown> | void)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

/** The tenant is who the header says: authentication is another processor's. */
const naming: Processor = {
  process: () => undefined,
  admit: (head) => ({
    tenant: head.header('x-tenant')[0] ?? 'default',
    project: head.header('x-project')[0] ?? '',
  }),
}

interface Options {
  /** Stands before the limits. */
  readonly before?: Processor
  readonly consume?: (batch: Batch) => Promise<Outcome>
  readonly tenants?: readonly Tenant[]
  readonly intakeBytes?: number
}

async function start(settings: object, options: Options = {}) {
  const directory = await mkdtemp(join(tmpdir(), 'weir-limits-'))
  const state = new EmbeddedState(directory)
  await state.open()
  const clock = { ms: NOON }
  const log = pino({ level: 'silent' })
  const usage = new UsageBook({ state, log, clock: () => clock.ms, flushMs: 5 })
  const meter = createMeter()
  const made = receiverContext('otlp', {
    ...(options.intakeBytes !== undefined && { intakeBytes: options.intakeBytes }),
  })
  const tenants = new Map((options.tenants ?? []).map((tenant) => [tenant.id, tenant]))
  const context: Context = {
    ...made.context,
    meter,
    clock: () => clock.ms,
    state,
    usage,
    identity: { ...NOBODY_KNOWN, tenant: (id) => tenants.get(id) },
  }
  const processor = limitsMaker.create(limits.config.parse({ refusal_delay: 0, ...settings }), context)
  await processor.start?.()
  const stored: string[] = []
  const consume =
    options.consume ??
    (async (batch: Batch) => {
      for (let row = 0; row < batch.rows; row++) if (batch.isLive(row)) stored.push(batch.name(row))
      return ACCEPTED
    })
  const processors = [naming, ...(options.before === undefined ? [] : [options.before]), processor]
  const target = entry(processors, chain(processors, { consume }), { authenticated: true })
  const protocols = { grpc: { endpoint: '127.0.0.1:0' }, http: { endpoint: '127.0.0.1:0' } }
  const receiver = otlpMaker.create(otlp.config.parse({ protocols }), context, target) as OtlpReceiver
  await receiver.start()
  const agents = toonMaker.create(
    toon.config.parse({ endpoint: '127.0.0.1:0' }),
    context,
    target,
  ) as ToonReceiver
  await agents.start()
  const grpc = new RawGrpcClient(receiver.addresses.get('grpc') ?? '')
  const http = Number(receiver.addresses.get('http')?.split(':')[1])
  cleanups.push(async () => {
    grpc.close()
    await receiver.stop(AbortSignal.timeout(2000))
    await agents.stop(AbortSignal.timeout(2000))
    await processor.stop?.(AbortSignal.timeout(2000))
    await made.listeners.close()
    await usage.stop()
    await state.close()
    await rm(directory, { recursive: true, force: true })
  })
  const send = {
    grpc: async (body: Uint8Array, headers: Record<string, string> = {}): Promise<Told> => {
      const { code, message, details, response } = await grpc.export(body, { headers })
      return { code, message, response, afterMs: details?.retryDelayMs }
    },
    http: async (body: Uint8Array, headers: Record<string, string> = {}): Promise<Told> => {
      const answer = await ask(http, { body, headers: { ...PROTOBUF, ...headers } })
      const after = answer.headers['retry-after']
      const message = answer.status === 200 ? '' : readStatus(answer.body).message
      return { code: answer.status, message, afterMs: after === undefined ? undefined : Number(after) * 1000 }
    },
  }
  const counted = async (name: string): Promise<[string, number][]> =>
    [...parsePrometheus(await meter.render())].filter(([series]) => series.startsWith(`${name}{`))
  const toonUrl = `http://${agents.address}`
  return { send, toonUrl, stored, clock, usage, counted, pressure: context.pressure, intake: made.intake }
}

type Rig = Awaited<ReturnType<typeof start>>

interface Told {
  readonly code: number
  readonly message: string
  readonly response?: unknown
  readonly afterMs: number | undefined
}

const spans = (count: number) => tracesRequest(...Array.from({ length: count }, (_, i) => `span-${i}`))
/** The only series then: without the tenant, which is not to be named unless asked for. */
const requests = (limit: string) => [`weir_rate_limited{limit="${limit}"}`, 1]
const OK = { grpc: 0, http: 200 } as const
const LIMITED = { grpc: 8, http: 429 } as const
const OVERLOADED = { grpc: 14, http: 503 } as const

interface Case {
  readonly limit: string
  readonly settings: object
  readonly answer: typeof LIMITED | typeof OVERLOADED
  /** Brings the limit about; resolves once it holds. */
  readonly reach: (rig: Rig, transport: 'grpc' | 'http') => unknown
  readonly end: (rig: Rig) => unknown
  /** Least and most seconds that the sender is told. */
  readonly after: readonly [number, number]
}

const CASES: readonly Case[] = [
  {
    limit: 'events_per_minute',
    settings: { default: { events_per_minute: 60 } },
    answer: LIMITED,
    // 100 of 60: 40 and what is reserved are paid back at one a second.
    reach: ({ send }, transport) => send[transport](spans(100)),
    end: ({ clock }) => (clock.ms += 70_000),
    after: [40, 62],
  },
  {
    limit: 'bytes_per_second',
    settings: { default: { bytes_per_second: 10 } },
    answer: LIMITED,
    reach: ({ send }, transport) => send[transport](spans(10)),
    end: ({ clock }) => (clock.ms += 600_000),
    after: [10, 120],
  },
  {
    limit: 'spans_per_day',
    settings: { default: { spans_per_day: 5 } },
    answer: LIMITED,
    reach: ({ send }, transport) => send[transport](spans(5)),
    end: ({ clock }) => (clock.ms += DAY_S * 1000),
    after: [DAY_S, DAY_S],
  },
  {
    limit: 'usd_per_day',
    settings: { default: { usd_per_day: 0.5 } },
    answer: LIMITED,
    reach: ({ usage, clock }) => usage.add('default', clock.ms, { picoUsd: 500_000_000_000n }),
    end: ({ clock }) => (clock.ms += DAY_S * 1000),
    after: [DAY_S, DAY_S],
  },
  {
    limit: 'wal.max_undelivered_percent',
    settings: {},
    answer: OVERLOADED,
    reach: ({ pressure }) =>
      pressure.reportWal('wal', { undeliveredBytes: 91, maxBytes: 100, undeliveredMs: 1 }),
    end: ({ pressure }) =>
      pressure.reportWal('wal', { undeliveredBytes: 50, maxBytes: 100, undeliveredMs: 1 }),
    after: [5, 5],
  },
  {
    limit: 'wal.max_undelivered_age',
    settings: { wal: { max_undelivered_age: '1h' } },
    answer: OVERLOADED,
    reach: ({ pressure }) =>
      pressure.reportWal('wal', { undeliveredBytes: 1, maxBytes: 100, undeliveredMs: 3_600_001 }),
    end: ({ pressure }) => pressure.forgetWal('wal'),
    after: [5, 5],
  },
  {
    limit: 'dead_letters.max_spans_per_minute',
    settings: { dead_letters: { max_spans_per_minute: 10 } },
    answer: OVERLOADED,
    reach: ({ pressure, clock }) => pressure.reportDeadLetters('default', 11, clock.ms),
    end: ({ clock }) => (clock.ms += 61_000),
    after: [10, 10],
  },
]

describe.each(['grpc', 'http'] as const)('over %s', (transport) => {
  it.each(CASES)('$limit: refused retryably, counted, and taken again once it is over', async (one) => {
    const rig = await start(one.settings)
    await one.reach(rig, transport)
    const before = rig.stored.length
    let refused: Told | undefined
    const code = async () => (refused = await rig.send[transport](spans(1))).code
    await expect.poll(code).toBe(one.answer[transport])
    const afterS = (refused?.afterMs ?? Number.NaN) / 1000
    expect(afterS).toBeGreaterThanOrEqual(one.after[0])
    expect(afterS).toBeLessThanOrEqual(one.after[1])
    expect(refused?.message).not.toBe('')
    expect(rig.stored.length).toBe(before)
    expect(await rig.counted('weir_rate_limited')).toEqual([requests(one.limit)])
    await one.end(rig)
    expect((await rig.send[transport](spans(1))).code).toBe(OK[transport])
    expect(rig.stored.length).toBe(before + 1)
  })

  it.each([
    ['tenant.in_flight_bytes', { default: { in_flight_bytes: 60 } }, LIMITED],
    ['in_flight_bytes', { in_flight_bytes: 60 }, OVERLOADED],
  ] as const)('%s: refused while others are under way', async (limit, settings, answer) => {
    let release = (): void => undefined
    const held = new Promise<void>((resolve) => (release = resolve))
    const seen: Batch[] = []
    const rig = await start(settings, {
      consume: async (batch) => {
        seen.push(batch)
        await held
        return ACCEPTED
      },
    })
    const first = rig.send[transport](spans(1))
    await expect.poll(() => seen).toHaveLength(1)
    const told = await rig.send[transport](spans(1))
    expect(told.code).toBe(answer[transport])
    expect(told.afterMs).toBeGreaterThan(0)
    expect(await rig.counted('weir_rate_limited')).toEqual([requests(limit)])
    release()
    expect((await first).code).toBe(OK[transport])
    expect((await rig.send[transport](spans(1))).code).toBe(OK[transport])
    await expect.poll(() => rig.intake.held).toBe(0)
  })

  it('memory: refused retryably while the process holds more than it may', async () => {
    const rig = await start({ limit_mib: 1 })
    const told = await rig.send[transport](spans(1))
    expect(told).toMatchObject({ code: OVERLOADED[transport], afterMs: 1000 })
    expect(await rig.counted('weir_rate_limited')).toEqual([requests('memory')])
  })

  it('request_bytes: refused for good', async () => {
    const rig = await start({ default: { request_bytes: 200 } })
    expect((await rig.send[transport](spans(1))).code).toBe(OK[transport])
    const told = await rig.send[transport](spans(10))
    expect(told).toMatchObject({ code: transport === 'grpc' ? 8 : 413, afterMs: undefined })
    expect(await rig.counted('weir_rate_limited')).toEqual([requests('request_bytes')])
    expect(rig.stored).toHaveLength(1)
  })

  it('does not charge what was refused behind it', async () => {
    let down = true
    const rig = await start(
      { default: { events_per_minute: 10, spans_per_day: 10 } },
      {
        consume: async () => {
          if (down) throw retry('WAL_UNAVAILABLE', 'down', 1000)
          return ACCEPTED
        },
      },
    )
    for (let i = 0; i < 20; i++)
      expect((await rig.send[transport](spans(9))).code).toBe(OVERLOADED[transport])
    expect(rig.usage.of('default', NOON).spans).toBe(0)
    down = false
    expect((await rig.send[transport](spans(9))).code).toBe(OK[transport])
    expect(rig.usage.of('default', NOON).spans).toBe(9)
  })
})

describe('one request alone, in several pieces', () => {
  const gzip = { 'content-encoding': 'gzip' }

  it.each([
    ['tenant.in_flight_bytes', { default: { in_flight_bytes: 300 } }],
    ['in_flight_bytes', { in_flight_bytes: 300 }],
  ])('may be larger than %s: nobody would ever be through with it', async (_, settings) => {
    const rig = await start(settings)
    expect((await rig.send.http(gzipSync(spans(50)), gzip)).code).toBe(200)
    expect(rig.stored).toHaveLength(50)
    await expect.poll(() => rig.intake.held).toBe(0)
  })

  it('is given up for good once it is over request_bytes whatever its encoding', async () => {
    const rig = await start({ default: { in_flight_bytes: 300, request_bytes: 300 } })
    expect(await rig.send.http(gzipSync(spans(50)), gzip)).toMatchObject({ code: 413, afterMs: undefined })
    await expect.poll(() => rig.intake.held).toBe(0)
  })
})

const tenant = (id: string, tier: Tenant['tier'], more: Partial<Tenant> = {}): Tenant => ({
  v: 1,
  id,
  name: id,
  tier,
  status: 'active',
  created_ms: 0,
  ...more,
})

describe('who has which limits', () => {
  const all = [
    tenant('poor', 'free'),
    tenant('rich', 'enterprise'),
    tenant('own', 'free', { limits: { events_per_minute: 3000 } }),
    tenant('named', 'free', { limits: { events_per_minute: 3000 } }),
  ]
  it.each([
    ['default', 'never limited', 5000, false],
    ['poor', 'its tier: 1000 a minute', 1001, true],
    ['poor', 'its tier: 1000 a minute', 999, false],
    ['rich', 'its tier: none', 5000, false],
    ['own', 'what is registered of it', 2999, false],
    ['own', 'what is registered of it', 3001, true],
    ['named', 'the config by its name', 500, true],
  ])('%s: %s (%i spans)', async (id, _, count, limited) => {
    const rig = await start({ tenants: { named: { events_per_minute: 400 } } }, { tenants: all })
    expect((await rig.send.http(spans(count), { 'x-tenant': id })).code).toBe(200)
    expect((await rig.send.http(spans(1), { 'x-tenant': id })).code).toBe(limited ? 429 : 200)
    // Nobody else is meant.
    expect((await rig.send.http(spans(1), { 'x-tenant': 'someone-else' })).code).toBe(200)
  })

  it('a project beside its tenant', async () => {
    const rig = await start({
      tenants: {
        acme: { events_per_minute: 100, projects: { web: { events_per_minute: 10, spans_per_day: 50 } } },
      },
    })
    const web = { 'x-tenant': 'acme', 'x-project': 'web' }
    expect((await rig.send.http(spans(20), web)).code).toBe(200)
    expect((await rig.send.http(spans(1), web)).code).toBe(429)
    expect((await rig.send.http(spans(90), { 'x-tenant': 'acme' })).code).toBe(200)
    expect((await rig.send.http(spans(1), { 'x-tenant': 'acme' })).code).toBe(429)
    expect(rig.usage.of('acme', NOON).spans).toBe(110)
    expect(rig.usage.of('acme/web', NOON).spans).toBe(20)
  })

  it('0 allows nothing', async () => {
    const rig = await start({ tenants: { acme: { events_per_minute: 0 } } })
    expect(await rig.send.grpc(spans(1), { 'x-tenant': 'acme' })).toMatchObject({ code: 8 })
  })
})

describe('refusals', () => {
  it('name the tenant in metrics only if told to', async () => {
    const rig = await start({ default: { spans_per_day: 0 }, tenant_labels: true })
    await rig.send.http(spans(1), { 'x-tenant': 'acme' })
    expect(await rig.counted('weir_rate_limited')).toEqual([
      ['weir_rate_limited{limit="spans_per_day",tenant="acme"}', 1],
    ])
  })

  it('of a tenant’s own making come late, and no later than asked for', async () => {
    const rig = await start({ default: { spans_per_day: 0 }, refusal_delay: '200ms' })
    const begun = performance.now()
    const told = await Promise.all(Array.from({ length: 20 }, () => rig.send.http(spans(1))))
    expect(new Set(told.map(({ code }) => code))).toEqual(new Set([429]))
    expect(performance.now() - begun).toBeGreaterThanOrEqual(195)
  })
})

it('rejects the spans over a limit, with the rule named, and takes the others', async () => {
  const rig = await start({ span: { max_bytes: 200 } })
  const told = await rig.send.grpc(tracesRequest('small', 'x'.repeat(300), 'also small'))
  expect(told).toMatchObject({
    code: 0,
    response: {
      partialSuccess: {
        rejectedSpans: 1,
        errorMessage: 'limits: the span has more than 200 bytes (span.max_bytes) (1 spans)',
      },
    },
  })
  expect(rig.stored).toEqual(['small', 'also small'])
  expect(await rig.counted('weir_limit_rejected_spans')).toEqual([
    ['weir_limit_rejected_spans{limit="span.max_bytes"}', 1],
  ])
  expect(rig.usage.of('default', NOON).spans).toBe(2)
})

it('charges what it takes where another has rejected some before it', async () => {
  const before: Processor = { process: () => ({ rejected: [{ rows: [0], reason: 'not this one' }] }) }
  const rig = await start({}, { before })
  const told = await rig.send.grpc(tracesRequest('rejected', 'one', 'two'))
  expect(told).toMatchObject({ code: 0, response: { partialSuccess: { rejectedSpans: 1 } } })
  expect(rig.stored).toEqual(['one', 'two'])
  expect(rig.usage.of('default', NOON).spans).toBe(2)
})

describe('agent events', () => {
  const event = (thought: string) => ({
    t: new Date(NOON).toISOString(),
    actor: 'agent',
    type: 'reasoning',
    payload: { thought },
  })
  async function begin(settings: object) {
    const rig = await start(settings)
    const post = (path: string, body: unknown, headers: Record<string, string> = {}) =>
      fetch(`${rig.toonUrl}${path}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'x-tenant': 'acme', ...headers },
        body: JSON.stringify(body),
      })
    expect((await post('/v1/runs', { run_id: 'r', agent_id: 'a' })).status).toBe(201)
    let key = 0
    const append = (...thoughts: string[]) =>
      post('/v1/runs/r/events', thoughts.map(event), { 'idempotency-key': `k${key++}` })
    return { rig, append }
  }

  it('are counted as spans: over the rate 429 with Retry-After, and taken again later', async () => {
    const { rig, append } = await begin({ tenants: { acme: { events_per_minute: 10 } } })
    expect((await append(...Array.from({ length: 15 }, String))).status).toBe(202)
    const refused = await append('one more')
    expect(refused.status).toBe(429)
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThanOrEqual(30)
    expect(await refused.json()).toMatchObject({ status: 429, type: 'urn:weir:rate-limited' })
    rig.clock.ms += 200_000
    expect((await append('one more')).status).toBe(202)
    expect(rig.usage.of('acme', NOON).spans).toBe(16)
  })

  it('are refused as a batch, and none is charged, when one is over a limit', async () => {
    const { rig, append } = await begin({ span: { max_payload_bytes: 70_000, max_attribute_bytes: 1000 } })
    const refused = await append('fine', 'x'.repeat(71_000))
    expect(refused.status).toBe(422)
    expect(JSON.stringify(await refused.json())).toContain('span.max_payload_bytes')
    expect(rig.stored).toEqual([])
    expect(rig.usage.of('acme', NOON).spans).toBe(0)
    expect((await append('fine')).status).toBe(202)
    expect(rig.usage.of('acme', NOON).spans).toBe(1)
  })
})

it('takes the collector’s memory_limiter as it is', () => {
  const settings = { check_interval: '1s', limit_mib: 400, spike_limit_mib: 100 }
  expect(limits.config.parse(settings)).toMatchObject({ limit_mib: 400, spike_limit_mib: 100 })
  expect(limits.aliases).toContain('memory_limiter')
  expect(limits.config.safeParse({ limit_mb: 3 }).success).toBe(false)
})
