import { pino } from 'pino'
import { describe, expect, it } from 'vitest'
import { openState } from '../../test/support/toon-rig.ts'
import type { Batch } from '../batch/batch.ts'
import { keyId } from '../batch/keys.ts'
import { retry } from '../fault.ts'
import { stateKey, type StateStore } from '../state/state.ts'
import { Appender } from './append.ts'
import { checkEvents } from './check.ts'
import { groupByRun } from './group.ts'
import { runIdOf } from './ids.ts'
import { endRun, startRun } from './lifecycle.ts'
import { DAY_MS } from './marks.ts'
import type { RunServices } from './publish.ts'
import { Redactor } from './redactor.ts'
import { RunStore } from './runs.ts'
import { sweepOnce } from './sweep.ts'

const NEVER = new AbortController().signal
const sender = { tenant: 'acme', project: 'p', principal: 'k' }
const run = runIdOf('acme', 'r')
const HOUR = 3_600_000

class World {
  nowMs = Date.UTC(2026, 2, 1, 12)
  readonly batches: Batch[] = []
  down = false
  /** A tenant of which the pipeline takes nothing. */
  refused = ''
  readonly forgotten: number[] = []
  readonly services: RunServices
  readonly state: StateStore

  constructor(state: StateStore) {
    this.state = state
    this.services = {
      store: new RunStore({ state: () => state }),
      state: () => state,
      next: {
        consume: async (batch) => {
          if (this.down) throw new Error('the daemon dies here')
          if (batch.meta.tenant === this.refused) throw retry('RATE_LIMITED', 'come tomorrow')
          this.batches.push(batch)
          return { rejected: [] }
        },
        lookback: { position: async () => '7', stored: async () => [] },
      },
      redactor: new Redactor({}, () => this.nowMs),
      receiver: 'toon',
      clock: () => this.nowMs,
      position: async () => '7',
    }
  }

  begin(id = 'r', tenant = 'acme') {
    const started = {
      sender: { ...sender, tenant },
      run: runIdOf(tenant, id),
      made: id,
      labels: { agentId: 'a' },
      info: { attributes: [] },
    }
    return startRun(this.services, started)
  }

  async send(count: number, id = 'r', key = id, services = this.services): Promise<void> {
    const appender = new Appender(services)
    for (let n = 0; n < count; n++) {
      const event = {
        t: new Date(this.nowMs).toISOString(),
        actor: 'agent',
        type: 'reasoning',
        payload: { thought: 'x' },
      }
      const groups = groupByRun('acme', checkEvents([event]), runIdOf('acme', id))
      await appender.append({
        sender,
        source: 'toon/http',
        groups,
        key: `${key} ${n}`,
        body: new Uint8Array(32),
      })
    }
  }

  sweep(maxKeys = 1_000_000): Promise<void> {
    const forgotten = { add: (count: number) => void this.forgotten.push(count) }
    const options = { idleMs: HOUR, keepMs: 7 * DAY_MS, maxKeys, everyMs: 1000, holder: 'test', forgotten }
    return sweepOnce({ ...options, services: this.services, log: pino({ level: 'silent' }) }, NEVER)
  }

  async keys(...prefix: string[]): Promise<number> {
    return (await this.state.list(stateKey(...prefix))).length
  }
}

const world = async () => new World(await openState())

describe('looking after runs', () => {
  it('closes a run that has been silent, once, and not before', async () => {
    const at = await world()
    await at.begin()
    await at.send(1)
    at.nowMs += HOUR
    await at.sweep()
    expect(at.batches).toHaveLength(1)
    at.nowMs += 1
    await at.sweep()
    await at.sweep()
    expect(at.batches).toHaveLength(2)
    const [, root] = at.batches
    expect(root?.text(root.attr(0, keyId('agent.run.status')))).toBe('abandoned')
    expect(root?.statusMessage(0)).toBe('no event for 3600 s')
    // It ended with its last event, not when somebody noticed.
    expect(Number(root?.durationNs(0))).toBeLessThan(1e9)
    expect([root?.meta.tenant, root?.meta.project, root?.meta.principal]).toEqual(['acme', 'p', 'k'])
    expect(await at.keys('run-open', 'toon')).toBe(0)
    await expect(endRun(at.services, { run, status: 'completed' })).rejects.toMatchObject({
      code: 'RUN_CLOSED',
    })
  })

  it('goes on with the runs of others when one cannot be closed now', async () => {
    const at = await world()
    for (const tenant of ['acme', 'big', 'corp']) await at.begin('r', tenant)
    at.nowMs += HOUR + 1
    at.refused = 'big'
    await at.sweep()
    expect(at.batches.map(({ meta }) => meta.tenant)).toEqual(['acme', 'corp'])
    at.refused = ''
    at.nowMs += HOUR
    await at.sweep()
    expect(at.batches.map(({ meta }) => meta.tenant)).toEqual(['acme', 'corp', 'big'])
  })

  it('writes the root span of a run whose daemon died after closing it', async () => {
    const at = await world()
    await at.begin()
    at.down = true
    await expect(endRun(at.services, { run, status: 'completed' })).rejects.toThrow('dies here')
    at.down = false
    await at.sweep()
    expect(at.batches).toHaveLength(0)
    at.nowMs += 61_000
    await at.sweep()
    await at.sweep()
    expect(at.batches.map((batch) => batch.name(0))).toEqual(['invoke_agent a'])
  })

  it('forgets ended runs after seven days, with all that state had of them', async () => {
    const at = await world()
    await at.begin()
    await at.send(200)
    await endRun(at.services, { run, status: 'completed' })
    expect(await at.keys('run-keys')).toBeGreaterThan(0)
    at.nowMs += 7 * DAY_MS
    await at.sweep()
    expect(await at.keys('run')).toBe(1)
    at.nowMs += DAY_MS
    await at.sweep()
    for (const kind of ['run', 'run-info', 'run-keys', 'run-open', 'run-done'])
      expect([kind, await at.keys(kind)]).toEqual([kind, 0])
    expect(at.forgotten).toEqual([])
  })

  it('knows nothing of a forgotten run when one of its id begins anew, here and in another daemon', async () => {
    const at = await world()
    const other = { ...at.services, store: new RunStore({ state: () => at.state }) }
    await at.begin()
    await at.send(200)
    await at.send(1, 'r', 'r', other)
    await endRun(at.services, { run, status: 'completed' })
    at.nowMs += 8 * DAY_MS
    await at.sweep()
    expect(await at.services.store.read(run)).toBeUndefined()
    const { createdMs, status } = await at.begin()
    expect([createdMs, status]).toEqual([at.nowMs, 'running'])
    at.batches.length = 0
    await at.send(200)
    await at.send(200, 'r', 'more')
    expect(at.batches).toHaveLength(400)
    // What the other daemon remembers are pages of the old run, of the same numbers.
    await at.send(100, 'r', 'more', other)
    expect(at.batches).toHaveLength(400)
  })

  it('lets the oldest keys of a tenant leave first when it has too many, and counts them', async () => {
    const at = await world()
    await at.begin()
    await at.send(200)
    const pages = await at.keys('run-keys')
    await at.sweep(150)
    expect(await at.keys('run-keys')).toBeLessThan(pages)
    expect(at.forgotten.reduce((sum, count) => sum + count, 0)).toBeGreaterThanOrEqual(50)
    await endRun(at.services, { run, status: 'completed' })
    at.nowMs += DAY_MS
    await at.begin('later')
    await at.send(100, 'later')
    await endRun(at.services, { run: runIdOf('acme', 'later'), status: 'completed' })
    await at.sweep(150)
    expect(await at.services.store.read(run)).toBeUndefined()
    expect(await at.services.store.read(runIdOf('acme', 'later'))).toBeDefined()
  })
})
