import { afterEach, expect, it } from 'vitest'
import { z } from 'zod'
import { parseResolved } from '../../config/resolved.ts'
import type { Exporter } from '../component.ts'
import { ACCEPTED } from '../consumer.ts'
import type { Services } from '../engine/services.ts'
import type { Connector, Registry, StoreChain } from '../factory.ts'
import { reject, retry } from '../fault.ts'
import { StatusBoard } from '../status-board.ts'
import { createLogger } from '../telemetry/logger.ts'
import { createMeter } from '../telemetry/prom-meter.ts'
import { StoreEngine } from './store-engine.ts'

/** What the components of one test did; exporters fail to start while their id is in `down`. */
class World {
  readonly attached = new Set<string>()
  readonly events: string[] = []
  readonly down = new Map<string, Error>()
  readonly engine: StoreEngine
  readonly registry = this.#components()

  constructor() {
    const log = createLogger({
      level: 'error',
      encoding: 'json',
      resource: {},
      destination: { write: () => {} },
    })
    const services = { registry: this.registry, log, meter: createMeter(), clock: Date.now }
    this.engine = new StoreEngine(services as unknown as Services, new StatusBoard(Date.now))
  }

  #components(): Registry {
    const any = z.looseObject({})
    const exporter = {
      type: 'sink',
      summary: '',
      config: any,
      load: () =>
        Promise.resolve({
          create: (_: unknown, { id }: { id: string }): Exporter => ({
            start: async () => {
              const failure = this.down.get(id)
              if (failure !== undefined) throw failure
              this.events.push(`+${id}`)
            },
            stop: async () => void this.events.push(`-${id}`),
            consume: () => Promise.resolve(ACCEPTED),
          }),
        }),
    }
    const connector = {
      type: 'log',
      summary: '',
      config: any,
      load: () => Promise.resolve({ create: () => this.#connector() }),
    }
    const receiver = {
      type: 'src',
      summary: '',
      config: any,
      load: () => Promise.resolve({ create: () => ({}) }),
    }
    return {
      receivers: [receiver],
      processors: [],
      exporters: [exporter],
      connectors: [connector],
      extensions: [],
      jobs: [],
    }
  }

  #connector(): Connector {
    return {
      intake: { consume: () => Promise.resolve(ACCEPTED) },
      attach: ({ cursor }: StoreChain) => void this.attached.add(cursor),
      detach: async (cursor) => void this.attached.delete(cursor),
      register: async (cursors) => void this.events.push(`cursors ${cursors.join(' ')}`),
    }
  }

  get cursors(): string[] {
    return [...this.attached].toSorted()
  }
}

function configOf(pipelines: Record<string, string[]>, sink: object = {}) {
  const stores = Object.entries(pipelines).map(([id, exporters]) => [id, { receivers: ['log'], exporters }])
  const ids = [...new Set(Object.values(pipelines).flat())]
  return {
    receivers: { src: {} },
    connectors: { log: {} },
    exporters: Object.fromEntries(ids.map((id) => [id, sink])),
    service: {
      telemetry: { metrics: { level: 'none' } },
      pipelines: { 'traces/in': { receivers: ['src'], exporters: ['log'] }, ...Object.fromEntries(stores) },
    },
  }
}

const worlds: World[] = []
afterEach(async () => {
  for (const world of worlds.splice(0)) await world.engine.stop(AbortSignal.timeout(1000))
})

async function running(raw: object, down: [string, Error][] = []): Promise<World> {
  const world = new World()
  worlds.push(world)
  for (const [id, error] of down) world.down.set(id, error)
  await world.engine.start(parsed(raw))
  return world
}

const parsed = (raw: object) => parseResolved(raw, new World().registry)

it('drives each cursor of its own, also where two pipelines share all components', async () => {
  const world = await running(configOf({ 'traces/a': ['sink'], 'traces/b': ['sink'] }))
  await expect.poll(() => world.cursors).toEqual(['traces/a/sink', 'traces/b/sink'])
  expect(world.events.filter((event) => event === '+sink')).toHaveLength(1)
})

it('registers every cursor before an exporter that cannot start, and attaches it once it can', async () => {
  const never = reject('START_FAILED', 'the npm package is missing')
  const world = await running(configOf({ 'traces/a': ['sink', 'sink/two'] }), [['sink/two', never]])
  expect(world.events[0]).toBe('cursors traces/a/sink traces/a/sink/two')
  await expect.poll(() => world.cursors).toEqual(['traces/a/sink'])
  expect(world.engine.health().degraded).toEqual(['exporter:sink/two: the npm package is missing'])
  world.down.clear()
  await expect.poll(() => world.cursors).toEqual(['traces/a/sink', 'traces/a/sink/two'])
  expect(world.engine.health().degraded).toEqual([])
})

it('keeps what is unchanged and goes back when what is new cannot start', async () => {
  const world = await running(configOf({ 'traces/a': ['sink'] }))
  await expect.poll(() => world.cursors).toEqual(['traces/a/sink'])
  world.down.set('sink/two', retry('EXPORT_UNAVAILABLE', 'refused'))
  const next = parsed(configOf({ 'traces/a': ['sink', 'sink/two'] }))
  await expect(world.engine.reload(next)).rejects.toThrow('exporter:sink/two did not start: refused')
  expect(world.cursors).toEqual(['traces/a/sink'])
  expect(world.engine.health().degraded).toEqual([])
  const names = world.engine.health().components.map(({ name }) => name)
  expect(names.toSorted()).toEqual(['connector:log', 'exporter:sink'])
  expect(world.events.filter((event) => /^[+-]sink$/.test(event))).toEqual(['+sink'])
  world.down.clear()
  expect(await world.engine.reload(next)).toEqual(['exporter:sink/two'])
  expect(world.cursors).toEqual(['traces/a/sink', 'traces/a/sink/two'])
})
