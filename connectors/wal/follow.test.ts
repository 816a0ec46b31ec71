import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pino from 'pino'
import { afterEach, describe, expect, it } from 'vitest'
import { requestBatch } from '../../test/contract/wal-spans.ts'
import type { ConnectorContext } from '../../pipeline/factory.ts'
import type { Follower, FollowerTerm, LogWorker } from '../../pipeline/follower.ts'
import { NOBODY_KNOWN } from '../../pipeline/identity/view.ts'
import { ByteGate } from '../../pipeline/intake.ts'
import { Pressure } from '../../pipeline/pressure.ts'
import { EmbeddedState } from '../../pipeline/state/embedded.ts'
import { registerCursor } from '../../pipeline/wal/cursor-store.ts'
import { createMeter } from '../../pipeline/telemetry/prom-meter.ts'
import { NO_USAGE } from '../../pipeline/usage/usage.ts'
import { config } from './config.ts'
import { wal } from './factory.ts'

const never = new AbortController().signal
const ends: (() => Promise<unknown>)[] = []

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})

async function place() {
  const directory = await mkdtemp(join(tmpdir(), 'weir-follow-'))
  const state = new EmbeddedState(join(directory, 'state'))
  await state.open()
  ends.push(async () => {
    await state.close()
    await rm(directory, { recursive: true, force: true })
  })
  const side = async (role: 'intake' | 'store', holder = 'one') => {
    const context: ConnectorContext = {
      id: 'wal',
      kind: 'connector',
      log: pino({ level: 'silent' }),
      meter: createMeter(),
      clock: Date.now,
      state,
      identity: NOBODY_KNOWN,
      listeners: { listen: () => Promise.reject(new Error('the WAL listens to nothing')) },
      intake: new ByteGate(1e9),
      pressure: new Pressure(),
      usage: NO_USAGE,
      role,
      onAppended: () => undefined,
      holder,
    }
    const options = { driver: 'embedded', directory: join(directory, 'wal'), start_at: 'earliest' }
    const settings = config.parse(options)
    const connector = (await wal.load(settings, role)).create(settings, context)
    await connector.start?.()
    ends.push(async () => connector.stop?.(AbortSignal.timeout(5000)))
    return connector
  }
  return { side, state }
}

/** Notes the names of the spans; saves when told to. */
class Notes implements LogWorker {
  readonly seen: string[] = []
  readonly began: unknown[] = []
  quietAt = 0
  quietMs = -Infinity
  /** Throw at this span, once. */
  stumble = ''
  term: FollowerTerm | undefined

  async begin(term: FollowerTerm): Promise<void> {
    this.term = term
    this.began.push([term.record().position, term.record().data])
  }

  async take(batches: Parameters<LogWorker['take']>[0], to: number): Promise<void> {
    for (const { batch } of batches) {
      for (let row = 0; row < batch.rows; row++) {
        if (!batch.isLive(row)) continue
        if (batch.name(row) === this.stumble) {
          this.stumble = ''
          throw new Error('a worker that stumbles')
        }
        this.seen.push(batch.name(row))
      }
    }
    await this.term?.save({ position: to + 1, data: { seen: this.seen.length } })
  }

  async quiet(to: number, walMs: number): Promise<void> {
    this.quietAt = to
    this.quietMs = walMs
  }
}

function follower(worker: LogWorker, more: Partial<Follower> = {}): Follower {
  return {
    cursor: 'traces/store/x@ahead',
    pipeline: 'traces/store',
    name: 'x@ahead',
    behind: ['traces/store/out'],
    process: () => undefined,
    worker,
    ...more,
  }
}

describe('a follower of the WAL', () => {
  it('gets every span once and in order, repeats left out, and goes on where it saved', async () => {
    const { side } = await place()
    const intake = await side('intake')
    await intake.intake.consume(requestBatch(['ok_1']), never)
    await intake.intake.consume(requestBatch(['ok_1']), never)
    await intake.intake.consume(requestBatch(['ok_2']), never)
    const store = await side('store')
    const first = new Notes()
    await store.register(['traces/store/out'], [follower(first)])
    store.follow?.(follower(first))
    await expect.poll(() => first.seen).toEqual(['ok_1', 'ok_2'])
    await store.detach('traces/store/x@ahead', AbortSignal.timeout(5000))
    await intake.intake.consume(requestBatch(['ok_3']), never)
    const second = new Notes()
    store.follow?.(follower(second))
    await expect.poll(() => second.seen).toEqual(['ok_3'])
    expect(second.began).toEqual([[4, { seen: 2 }]])
  })

  it('reads again from the saved position after its worker threw, and what the processors dropped is not live', async () => {
    const { side } = await place()
    const intake = await side('intake')
    const notes = new Notes()
    notes.stumble = 'ok_2'
    const store = await side('store')
    const dropping = follower(notes, {
      process(batch) {
        if (batch.name(0) === 'drop') batch.drop(0, 'sampled')
      },
    })
    await store.register(['traces/store/out'], [dropping])
    store.follow?.(dropping)
    await intake.intake.consume(requestBatch(['ok_1']), never)
    await expect.poll(() => notes.seen).toEqual(['ok_1'])
    for (const name of ['drop', 'ok_2', 'ok_3']) await intake.intake.consume(requestBatch([name]), never)
    store.poke?.()
    await expect.poll(() => notes.seen).toEqual(['ok_1', 'ok_2', 'ok_3'])
    expect(notes.began.length).toBe(2)
  })

  it('hears that nothing comes, with a bound that grows and stays under the time of what comes next', async () => {
    const { side } = await place()
    const intake = await side('intake')
    const store = await side('store')
    const notes = new Notes()
    await store.register(['traces/store/out'], [follower(notes)])
    store.follow?.(follower(notes))
    const before = Date.now()
    await intake.intake.consume(requestBatch(['ok_1']), never)
    await expect.poll(() => notes.quietMs).toBeGreaterThan(before)
    expect(notes.quietAt).toBe(1)
    expect(notes.quietMs).toBeLessThanOrEqual(Date.now())
  })

  it('knows what its pipeline has passed, whatever an exporter that is gone from the config has not', async () => {
    const { side, state } = await place()
    const store = await side('store')
    const notes = new Notes()
    await registerCursor(state, 'wal', 'traces/store/gone', 1, Date.now())
    await registerCursor(state, 'wal', 'traces/store/out', 7, Date.now())
    await store.register(['traces/store/out'], [follower(notes)])
    store.follow?.(follower(notes))
    await expect.poll(() => notes.began.length).toBeGreaterThan(0)
    expect(await notes.term?.passed()).toBe(7)
  })

  it('is driven by one daemon; another takes over when that one stops', async () => {
    const { side } = await place()
    const intake = await side('intake')
    const [one, two] = [await side('store', 'one'), await side('store', 'two')]
    const [mine, theirs] = [new Notes(), new Notes()]
    await one.register(['traces/store/out'], [follower(mine)])
    await two.register(['traces/store/out'], [follower(theirs)])
    one.follow?.(follower(mine))
    await expect.poll(() => mine.began.length).toBe(1)
    two.follow?.(follower(theirs))
    await intake.intake.consume(requestBatch(['ok_1']), never)
    await expect.poll(() => mine.seen).toEqual(['ok_1'])
    await one.stop?.(AbortSignal.timeout(5000))
    await intake.intake.consume(requestBatch(['ok_2']), never)
    await expect.poll(() => theirs.seen).toEqual(['ok_2'])
    expect(mine.seen).toEqual(['ok_1'])
  })
})
