import * as fc from 'fast-check'
import pino from 'pino'
import { expect, it } from 'vitest'
import { faultOf } from '../../pipeline/fault.ts'
import { createMeter } from '../../pipeline/telemetry/prom-meter.ts'
import { cursorKey, decodeCursor, type CursorRecord } from '../../pipeline/wal/cursor-record.ts'
import { registerCursor } from '../../pipeline/wal/cursor-store.ts'
import { DeadLetters } from '../../pipeline/wal/dead-letter.ts'
import { decodeEnvelope } from '../../pipeline/wal/envelope.ts'
import { EMPTY_LEDGER, imbalance } from '../../pipeline/wal/ledger.ts'
import { ChainReader } from '../../pipeline/wal/reader.ts'
import { WalWriter } from '../../pipeline/wal/writer.ts'
import { MemoryDriver, MemoryLeases, MemoryLog, MemoryState, SteppedState } from './wal-memory.ts'
import { requestBatch } from './wal-spans.ts'
import { modelChain, ModelStore, spanOf, type Behaviour } from './wal-world.ts'

/**
 * Random lives of a WAL over models of its log, state and destination: senders that lose answers and repeat, daemons
 * that die between any two effects, leases that are lost with and without notice, a destination that fails in every
 * way. Whatever happened, in the end every accepted span is stored once or accounted for, and the ledger says so.
 */
type Op =
  | {
      readonly do: 'publish'
      readonly tenant: string
      readonly kinds: readonly string[]
      readonly answers: readonly boolean[]
    }
  | { readonly do: 'repeat'; readonly which: number }
  | { readonly do: 'plan'; readonly next: readonly Behaviour[] }
  | { readonly do: 'kill'; readonly daemon: number; readonly afterSteps: number }
  | { readonly do: 'start' }
  | { readonly do: 'revoke'; readonly tell: boolean }
  | { readonly do: 'purge'; readonly tenant: string }
  | { readonly do: 'tick'; readonly ms: number }
  | { readonly do: 'run'; readonly turns: number }

const kind = fc.oneof(
  { weight: 8, arbitrary: fc.constant('ok') },
  fc.constantFrom('bad', 'part', 'old', 'drop', 'inv'),
)
const tenant = fc.constantFrom('a', 'b')
const op: fc.Arbitrary<Op> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('publish' as const),
      tenant,
      kinds: fc.array(kind, { minLength: 1, maxLength: 6 }),
      answers: fc.array(fc.boolean(), { maxLength: 2 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('repeat' as const), which: fc.nat(20) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('plan' as const),
      next: fc.array(
        fc.constantFrom<Behaviour>('ok', 'retry', 'retry-after-store', 'hang', 'hang-after-store'),
        { minLength: 1, maxLength: 3 },
      ),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('kill' as const), daemon: fc.nat(3), afterSteps: fc.nat(12) }),
  },
  { weight: 3, arbitrary: fc.constant({ do: 'start' as const }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('revoke' as const), tell: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('purge' as const), tenant }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('tick' as const), ms: fc.nat(60_000) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('run' as const), turns: fc.nat(40) }) },
)

const CURSOR = 'traces/store/model'
const LEASE = `wal/${CURSOR}`
const silent = pino({ level: 'silent' })
const never = new AbortController().signal

interface Daemon {
  readonly reader: ChainReader
  /** Effects left until it dies. */
  stepsLeft: number
  dead: boolean
}

class World {
  readonly log = new MemoryLog()
  readonly state = new MemoryState()
  readonly leases = new MemoryLeases()
  readonly store = new ModelStore()
  readonly meter = createMeter()
  readonly letters = this.#lettersOn(this.state)
  readonly writer: WalWriter
  readonly daemons: Daemon[] = []
  readonly requests: { readonly tenant: string; readonly names: readonly string[]; acked: boolean }[] = []
  readonly purged = new Set<string>()
  readonly each: boolean
  #spans = 0

  constructor(each: boolean) {
    this.each = each
    const driver = new MemoryDriver(this.log, 700)
    const onAppended = () => undefined
    this.writer = new WalWriter({
      connector: 'wal',
      driver,
      meter: this.meter,
      onAppended,
      maxPendingBytes: 1e6,
    })
  }

  #lettersOn(state: MemoryState | SteppedState): DeadLetters {
    const clock = () => this.log.nowMs
    return new DeadLetters({ connector: 'wal', state, meter: this.meter, clock, maxBytes: 1e6 })
  }

  start(): void {
    const daemon: { reader?: ChainReader; stepsLeft: number; dead: boolean } = {
      stepsLeft: Infinity,
      dead: false,
    }
    const step = async () => {
      if (daemon.dead || daemon.stepsLeft-- <= 0) {
        if (!daemon.dead) this.#die(daemon)
        await new Promise(() => {})
      }
    }
    const state = new SteppedState(this.state, step)
    const batching = { maxSpans: 8, maxBytes: 4096, maxWaitMs: 0 }
    const chain = modelChain({ store: this.store, step, batching, each: this.each })
    const reader = new ChainReader(chain, {
      connector: 'wal',
      driver: new MemoryDriver(this.log),
      state,
      acquire: this.leases.acquire,
      letters: this.#lettersOn(state),
      log: silent,
      meter: this.meter,
      clock: () => this.log.nowMs,
      deliverTimeoutMs: 15,
      backoffMs: [1, 4],
    })
    this.daemons.push(Object.assign(daemon, { reader }))
    reader.start()
  }

  #die(daemon: { dead: boolean; reader?: ChainReader }): void {
    daemon.dead = true
    // Its lease runs out.
    if (daemon.reader?.view().held === true) this.leases.revoke(LEASE, false)
  }

  async publish(tenant: string, kinds: readonly string[], answers: readonly boolean[]): Promise<void> {
    const names = kinds.map((kind) => `${kind}${++this.#spans}`)
    const request = { tenant, names, acked: false }
    this.requests.push(request)
    // A lost answer: the message may be there or not, the sender repeats it.
    for (const landed of answers) {
      this.log.failing = landed ? 'after' : 'before'
      await this.send(request)
      this.log.failing = undefined
    }
    await this.send(request)
  }

  async send(request: {
    readonly tenant: string
    readonly names: readonly string[]
    acked: boolean
  }): Promise<void> {
    try {
      await this.writer.consume(requestBatch(request.names, { tenant: request.tenant }), never)
      request.acked = true
    } catch (error) {
      if (faultOf(error)?.code !== 'WAL_UNAVAILABLE') throw error
    }
  }

  async purge(tenant: string): Promise<void> {
    const { frozen } = await this.record()
    if (frozen !== undefined || this.daemons.some((daemon) => !daemon.dead)) return
    for (const request of this.requests)
      if (request.tenant === tenant) request.names.forEach((n) => this.purged.add(`${tenant}/${n}`))
    await new MemoryDriver(this.log).purgeTenant(tenant, this.log.lastSeq)
  }

  async record(): Promise<CursorRecord> {
    const key = cursorKey('wal', CURSOR)
    const entry = await this.state.get(key)
    return decodeCursor(key, entry?.value ?? new Uint8Array())
  }

  async heal(): Promise<void> {
    this.store.plan.length = 0
    for (const daemon of this.daemons)
      if (daemon.dead && daemon.reader.view().held) this.leases.revoke(LEASE, false)
    this.start()
    await until(async () => {
      const { position, frozen } = await this.record()
      return frozen === undefined && position > (this.log.messages.at(-1)?.seq ?? 0)
    })
    for (const daemon of this.daemons) {
      daemon.stepsLeft = Infinity
      if (!daemon.dead) await daemon.reader.stop(AbortSignal.timeout(1000))
    }
  }
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + 60_000
  while (!(await condition())) {
    if (performance.now() > end) throw new Error('the world did not come to rest')
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
}

async function live(world: World, ops: readonly Op[]): Promise<void> {
  const now = world.log.nowMs
  await registerCursor(world.state, 'wal', CURSOR, 1, now)
  for (const one of ops) {
    if (one.do === 'publish') await world.publish(one.tenant, one.kinds, one.answers)
    if (one.do === 'start' && world.daemons.filter((daemon) => !daemon.dead).length < 3) world.start()
    if (one.do === 'plan') world.store.plan.push(...one.next)
    if (one.do === 'revoke') world.leases.revoke(LEASE, one.tell)
    if (one.do === 'purge') await world.purge(one.tenant)
    if (one.do === 'tick') world.log.nowMs += one.ms
    if (one.do === 'run') for (let n = 0; n < one.turns; n++) await new Promise((done) => setImmediate(done))
    const known = one.do === 'repeat' ? world.requests[one.which] : undefined
    if (known !== undefined) await world.send(known)
    const victim = one.do === 'kill' ? world.daemons[one.daemon] : undefined
    if (victim !== undefined && one.do === 'kill') victim.stepsLeft = one.afterSteps
  }
  await world.heal()
}

function partition<T>(all: readonly T[], first: (one: T) => boolean): [T[], T[]] {
  return [all.filter(first), all.filter((one) => !first(one))]
}

async function check(world: World): Promise<void> {
  const { ledger } = await world.record()
  const [letters, gaps] = partition(await world.letters.list(), ({ spans }) => spans > 0)
  if (world.purged.size === 0) expect(gaps).toEqual([])
  const stored = world.store.rows.map(spanOf)
  expect(imbalance(ledger)).toBe(0)
  if (!world.each) {
    // What a purge took out of the log is forgotten: whoever sends it again sends something new.
    const remembered = stored.filter((span) => !world.purged.has(span))
    expect(remembered.length).toBe(new Set(remembered).size)
    expect(ledger.stored).toBe(stored.length)
  }
  const dead = await Promise.all(letters.map(async ({ id }) => nameIn((await world.letters.get(id)).body)))
  expect(ledger.dead_lettered).toBe(dead.length)
  expect(dead.every((name) => /^(bad|part|inv)/.test(name))).toBe(true)
  for (const { tenant, names, acked } of world.requests) {
    for (const name of names) {
      const span = `${tenant}/${name}`
      if (!acked || world.purged.has(span)) continue
      expect([span, stored.includes(span)]).toEqual([span, name.startsWith('ok')])
      expect([span, dead.includes(name)]).toEqual([span, /^(bad|part|inv)/.test(name)])
    }
  }
  if (world.purged.size > 0) return
  const all = world.log.messages.flatMap(({ bytes, seq }) => decodeEnvelope(bytes, seq))
  expect(ledger.passed).toBe(all.reduce((sum, member) => sum + member.spans, 0))
  expect({ ...EMPTY_LEDGER, sampled: ledger.sampled, expired: ledger.expired }).toEqual({
    ...EMPTY_LEDGER,
    sampled: distinct(world, 'drop'),
    expired: distinct(world, 'old'),
  })
}

/** Spans of that kind of which a copy is in the log. */
function distinct(world: World, kind: string): number {
  const present = new Set<string>()
  const tenants = world.log.messages.flatMap(({ tenant, bytes, seq }) =>
    decodeEnvelope(bytes, seq).map((member) => ({
      tenant,
      text: Buffer.from(member.bytes).toString('latin1'),
    })),
  )
  for (const { tenant, names } of world.requests) {
    for (const name of names) {
      const there = tenants.some(
        (one) => one.tenant === tenant && new RegExp(`${name}(?![0-9])`).test(one.text),
      )
      if (name.startsWith(kind) && there) present.add(`${tenant}/${name}`)
    }
  }
  return present.size
}

function nameIn(body: Uint8Array): string {
  return /(?:ok|bad|part|old|drop|inv)\d+/.exec(Buffer.from(body).toString('latin1'))?.[0] ?? ''
}

const RUNS = Number(process.env['WEIR_MODEL_RUNS'] ?? 120)

/** A sender that repeats what was stored, and then purged with its tenant. */
const PURGED_AND_REPEATED: Op[] = [
  { do: 'start' },
  { do: 'kill', daemon: 0, afterSteps: 5 },
  { do: 'publish', tenant: 'b', kinds: ['ok'], answers: [true] },
  { do: 'purge', tenant: 'b' },
  { do: 'repeat', which: 0 },
  { do: 'publish', tenant: 'a', kinds: ['ok'], answers: [] },
]

it('accounts for every accepted span exactly once, whatever dies', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(op, { minLength: 3, maxLength: 30 }), async (ops) => {
      const world = new World(false)
      await live(world, ops)
      await check(world)
    }),
    { numRuns: RUNS, interruptAfterTimeLimit: 100_000, examples: [[PURGED_AND_REPEATED]] },
  )
})

it('loses nothing with an exporter that takes batch by batch', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(op, { minLength: 3, maxLength: 30 }), async (ops) => {
      const world = new World(true)
      await live(world, ops)
      await check(world)
    }),
    { numRuns: Math.ceil(RUNS / 3), interruptAfterTimeLimit: 100_000 },
  )
})
