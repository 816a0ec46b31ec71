import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pino from 'pino'
import { afterEach, describe, expect, it } from 'vitest'
import { until } from '../../test/contract/until.ts'
import { requestBatch } from '../../test/contract/wal-spans.ts'
import { modelChain, ModelStore, spanOf } from '../../test/contract/wal-world.ts'
import { faultOf } from '../../pipeline/fault.ts'
import type { Connector, ConnectorContext } from '../../pipeline/factory.ts'
import { NOBODY_KNOWN } from '../../pipeline/identity/view.ts'
import { ByteGate } from '../../pipeline/intake.ts'
import { DeadLetters, type NewDeadLetter } from '../../pipeline/wal/dead-letter.ts'
import { Pressure } from '../../pipeline/pressure.ts'
import { NO_USAGE } from '../../pipeline/usage/usage.ts'
import { EmbeddedState } from '../../pipeline/state/embedded.ts'
import { createMeter } from '../../pipeline/telemetry/prom-meter.ts'
import { cursorKey, decodeCursor } from '../../pipeline/wal/cursor-record.ts'
import { imbalance } from '../../pipeline/wal/ledger.ts'
import { config } from './config.ts'
import { registerCursor } from '../../pipeline/wal/cursor-store.ts'
import { wal } from './factory.ts'

const never = new AbortController().signal
const ends: (() => Promise<unknown>)[] = []

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})

interface Place {
  readonly state: EmbeddedState
  readonly settings: object
}

async function place(): Promise<Place> {
  const directory = await mkdtemp(join(tmpdir(), 'weir-connector-'))
  ends.push(() => rm(directory, { recursive: true, force: true }))
  return {
    state: await stateIn(join(directory, 'state')),
    settings: { driver: 'embedded', directory: join(directory, 'wal') },
  }
}

async function stateIn(directory: string): Promise<EmbeddedState> {
  const state = new EmbeddedState(directory)
  await state.open()
  ends.push(() => state.close())
  return state
}

/** One side of the connector, as a process of the daemon makes it. */
async function side(role: 'intake' | 'store', { state, settings }: Place, more: object = {}) {
  const meter = createMeter()
  const clock = { ms: 0 }
  const context: ConnectorContext = {
    id: 'wal',
    kind: 'connector',
    log: pino({ level: 'silent' }),
    meter,
    clock: () => Date.now() + clock.ms,
    state,
    identity: NOBODY_KNOWN,
    listeners: { listen: () => Promise.reject(new Error('the WAL listens to nothing')) },
    intake: new ByteGate(1e9),
    pressure: new Pressure(),
    usage: NO_USAGE,
    role,
    onAppended: () => undefined,
  }
  const parsed = config.parse({ ...settings, ...more })
  const connector: Connector = (await wal.load(parsed, role)).create(parsed, context)
  await connector.start?.()
  ends.push(async () => connector.stop?.(AbortSignal.timeout(5000)))
  return { connector, meter, clock, pressure: context.pressure }
}

async function recordOf({ state }: Place, cursor: string) {
  const key = cursorKey('wal', cursor)
  const entry = await state.get(key)
  return entry && decodeCursor(key, entry.value)
}

describe('wal connector', () => {
  it('checks its config, with the defaults of the collector’s duration and size notation', () => {
    expect(config.parse({ driver: 'embedded' })).toMatchObject({
      directory: './data/wal',
      keep: 7 * 24 * 3_600_000,
      start_at: 'latest',
      when_full: 'refuse',
      lag_alarm: 300_000,
      dead_letters: { max_bytes: 64 * 1024 * 1024 },
    })
    expect(config.safeParse({ driver: 'embedded', servers: ['nats://x'] }).success).toBe(false)
    expect(config.safeParse({ driver: 'jetstream', directory: 'x' }).success).toBe(false)
    expect(config.safeParse({ driver: 'embedded', when_full: { clickhouse: 'drop' } }).success).toBe(false)
    expect(config.parse({ driver: 'jetstream', when_full: { s3: 'skip' } }).when_full).toEqual({ s3: 'skip' })
  })

  it('loses nothing between the registration of a cursor and the start of its exporter', async () => {
    const here = await place()
    const { connector: intake } = await side('intake', here)
    await intake.intake.consume(requestBatch(['ok_before']), never)
    const { connector: store } = await side('store', here)
    const model = new ModelStore()
    const chain = modelChain({ store: model })
    await store.register([chain.cursor])
    await intake.intake.consume(requestBatch(['ok_between']), never)
    store.attach(chain)
    await intake.intake.consume(requestBatch(['ok_after']), never)
    store.poke?.()
    await until(() => model.rows.length === 2)
    expect(model.rows.map(spanOf)).toEqual(['default/ok_between', 'default/ok_after'])
  })

  it.each(['intake', 'store'] as const)(
    'does not start its %s side on a log that is read with another state store',
    async (role) => {
      const here = await place()
      const directory = await mkdtemp(join(tmpdir(), 'weir-other-state-'))
      ends.push(() => rm(directory, { recursive: true, force: true }))
      await side('intake', here)
      const there = { ...here, state: await stateIn(directory) }
      const error: unknown = await side(role, there).catch((cause: unknown) => cause)
      expect(faultOf(error)).toMatchObject({ code: 'START_FAILED', verdict: { do: 'reject' } })
      const { message } = faultOf(error)!
      for (const part of [here.state.place, directory, 'weir cursor adopt']) expect(message).toContain(part)
      // Both processes of the daemon whose log it is, again and again.
      await side('store', here)
      await side('intake', here)
    },
  )

  it('starts a new exporter at the oldest message where the config says so', async () => {
    const here = await place()
    const { connector: intake } = await side('intake', here)
    await intake.intake.consume(requestBatch(['ok_before']), never)
    const { connector: store } = await side('store', here, { start_at: 'earliest' })
    const model = new ModelStore()
    const chain = modelChain({ store: model })
    await store.register([chain.cursor])
    store.attach(chain)
    await until(() => model.rows.length === 1)
  })

  it('starts an exporter whose position the state store has lost at the oldest message', async () => {
    const here = await place()
    const { connector: intake } = await side('intake', here)
    const { connector: store } = await side('store', here)
    const model = new ModelStore()
    const chain = modelChain({ store: model })
    await store.register([chain.cursor])
    await intake.intake.consume(requestBatch(['ok_undelivered']), never)
    expect(await here.state.delete(cursorKey('wal', chain.cursor))).toBe(true)
    await store.register([chain.cursor, 'traces/store/new'])
    expect(await recordOf(here, 'traces/store/new')).toMatchObject({ position: 2 })
    store.attach(chain)
    await until(() => model.rows.length === 1)
    expect(model.rows.map(spanOf)).toEqual(['default/ok_undelivered'])
  })

  it.each(['intake', 'store'] as const)('gives no sequence that a cursor has passed: %s', async (role) => {
    const here = await place()
    await registerCursor(here.state, 'wal', 'traces/store/old', 51, 0)
    const { connector } = await side(role, here)
    const { connector: store } = await side('store', here)
    if (role === 'intake') await connector.intake.consume(requestBatch(['ok_1']), never)
    else await connector.stored?.append(requestBatch(['ok_1']), never)
    await store.register(['traces/store/new'])
    expect(await recordOf(here, 'traces/store/new')).toMatchObject({ position: 52 })
  })

  it('detaches after the range in flight, and another chain goes on behind it', async () => {
    const here = await place()
    const { connector: intake } = await side('intake', here)
    const { connector: store } = await side('store', here)
    const model = new ModelStore()
    let inFlight = () => {}
    let finish = () => {}
    const called = new Promise<void>((resolve) => (inFlight = resolve))
    const finished = new Promise<void>((resolve) => (finish = resolve))
    model.onCall = () => {
      inFlight()
      return finished
    }
    const chain = modelChain({ store: model })
    await store.register([chain.cursor])
    store.attach(chain)
    await intake.intake.consume(requestBatch(['ok1']), never)
    await called
    const detached = store.detach(chain.cursor, AbortSignal.timeout(5000))
    finish()
    await detached
    expect((await recordOf(here, chain.cursor))?.ledger.stored).toBe(1)
    store.attach(modelChain({ store: model }))
    await intake.intake.consume(requestBatch(['ok2']), never)
    await until(() => model.rows.length === 2)
    expect(model.deliveries.every(({ attempt }) => attempt === 0)).toBe(true)
  })

  it('says that the WAL cannot be written when it is full, and refuses retryably', async () => {
    const here = await place()
    const { connector: intake } = await side('intake', here, { max_bytes: '8MiB' })
    await intake.probe?.(never)
    const codes = new Set<string | undefined>()
    for (let n = 0; n < 40 && codes.size === 0; n++) {
      const request = requestBatch([`ok${n}`], { padding: 400_000 })
      await intake.intake.consume(request, never).catch((error: unknown) => {
        codes.add(faultOf(error)?.code)
        expect(faultOf(error)?.verdict.do).toBe('retry')
      })
    }
    expect([...codes]).toEqual(['WAL_FULL'])
    await expect(intake.probe?.(never)).rejects.toMatchObject({ code: 'WAL_FULL' })
    expect(intake.durability?.mode).toMatch(/process|strict/)
  })

  it('skips the oldest of an exporter that may lose data when the WAL is full; the others get all', async () => {
    const here = await place()
    const limits = { max_bytes: '8MiB', when_full: { down: 'skip' } }
    const { connector: intake } = await side('intake', here, limits)
    const { connector: store } = await side('store', here, limits)
    const batching = { maxSpans: 2, maxBytes: 1 << 20, maxWaitMs: 0 }
    const good = new ModelStore()
    const down = new ModelStore()
    const goodChain = modelChain({ store: good, exporterId: 'good', batching })
    const downChain = modelChain({ store: down, exporterId: 'down', batching })
    await store.register([goodChain.cursor, downChain.cursor])
    down.plan.push(...Array<'retry'>(1000).fill('retry'))
    store.attach(goodChain)
    store.attach(downChain)
    let sent = 0
    await until(async () => {
      const request = requestBatch([`ok${sent}`], { padding: 400_000 })
      const taken = await intake.intake.consume(request, never).then(
        () => true,
        () => false,
      )
      if (taken) sent++
      return sent === 45
    })
    await until(() => good.rows.length === sent)
    const record = await recordOf(here, downChain.cursor)
    expect(record?.ledger.skipped).toBeGreaterThan(10)
    expect(record && imbalance(record.ledger)).toBe(0)
    expect((await recordOf(here, goodChain.cursor))?.ledger.skipped).toBe(0)
  })

  it('shows the lag of a cursor and is degraded when it is too old', async () => {
    const here = await place()
    const { connector: intake } = await side('intake', here)
    const model = new ModelStore()
    const chain = modelChain({ store: model })
    const first = await side('store', here, { lag_alarm: '10ms' })
    await first.connector.register([chain.cursor])
    for (let n = 0; n < 4; n++) await intake.intake.consume(requestBatch([`ok${n}`]), never)
    await first.connector.stop?.(AbortSignal.timeout(1000))
    // The look at the lag follows the start; nothing is attached, so the cursor stays behind.
    const late = await side('store', here, { lag_alarm: '10ms' })
    late.clock.ms = 60_000
    await late.connector.register([chain.cursor])
    await until(() => (late.connector.degraded?.().length ?? 0) > 0)
    expect(late.connector.degraded?.()[0]).toMatch(/^traces\/store\/model is \d+ s behind/)
    expect(await late.meter.render()).toMatch(
      /weir_wal_lag_seconds\{pipeline="traces\/store",exporter="model"\} [1-9]/,
    )
    late.connector.attach(chain)
    await until(() => model.rows.length === 4)
    await until(() => late.connector.degraded?.().length === 0)
  })

  it('tells intake what the exporters that hold up the log have not taken, and not what others have not', async () => {
    const here = await place()
    const limits = { max_bytes: '64MiB', when_full: { lossy: 'skip' } }
    const { connector: intake, pressure } = await side('intake', here, limits)
    const load = () => pressure.wals().get('wal')
    await until(() => load() !== undefined)
    expect(load()).toMatchObject({ undeliveredBytes: 0, maxBytes: 64 * 1024 * 1024 })
    const { connector: store } = await side('store', here, limits)
    const lossy = modelChain({ store: new ModelStore(), exporterId: 'lossy' })
    const strict = modelChain({ store: new ModelStore(), exporterId: 'strict' })
    await store.register([lossy.cursor])
    await intake.intake.consume(requestBatch(['ok1'], { padding: 1_000_000 }), never)
    // Two looks later the exporter that may be skipped still counts for nothing; one that may not does at once.
    await new Promise((resolve) => setTimeout(resolve, 4500))
    expect(load()?.undeliveredBytes).toBe(0)
    await store.register([lossy.cursor, strict.cursor])
    await intake.intake.consume(requestBatch(['ok2'], { padding: 1_000_000 }), never)
    await until(() => (load()?.undeliveredBytes ?? 0) > 500_000)
    expect(load()?.undeliveredMs).toBeGreaterThanOrEqual(0)
    store.attach(strict)
    await until(() => load()?.undeliveredBytes === 0)
    await intake.stop?.(AbortSignal.timeout(1000))
    expect(pressure.wals().size).toBe(0)
  })

  it('tells intake whose spans become dead letters, each letter once', async () => {
    const here = await place()
    const { pressure, clock } = await side('intake', here)
    const letters = new DeadLetters({
      connector: 'wal',
      state: here.state,
      meter: createMeter(),
      clock: Date.now,
      maxBytes: 1e6,
    })
    const letter = (tenant: string, seq: number, spans: number): NewDeadLetter => ({
      cursor: 'traces/store/model',
      component: 'model',
      reason: 'no',
      tenant,
      project: '',
      principal: '',
      source: 'otlp/grpc',
      receivedAtMs: 0,
      seq,
      row: 0,
      spans,
      attempts: 1,
      format: 'otlp',
      body: Buffer.from('x'),
    })
    const perMinute = (tenant: string) => pressure.deadLettersPerMinute(tenant, Date.now() + clock.ms)
    await letters.put([letter('acme', 1, 3), letter('acme', 2, 4), letter('other', 3, 5)])
    await until(() => perMinute('acme') === 7 && perMinute('other') === 5)
    // A range that is repeated writes its letters again.
    await new Promise((resolve) => setTimeout(resolve, 5))
    await letters.put([letter('acme', 1, 3)])
    await letters.put([letter('acme', 9, 1)])
    await until(() => perMinute('acme') === 8)
    expect(pressure.deadLettersPerMinute('acme', Date.now() + 61_000)).toBe(0)
  })
})
