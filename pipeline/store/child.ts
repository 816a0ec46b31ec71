import type { Config } from '../config.ts'
import { processServices, type ProcessServices } from '../engine/process-services.ts'
import type { Registry } from '../factory.ts'
import { StatusBoard } from '../status-board.ts'
import type { StoreMethods } from './protocol.ts'
import { Rpc, type Channel, type Handlers } from './rpc.ts'
import { StoreEngine } from './store-engine.ts'

export interface ChildSetup {
  readonly registry: Registry
  /** Parses `Config.raw` again: the child trusts the same schemas. */
  readonly parse: (raw: unknown) => Config
}

/** The life of a store process: commanded by its parent, gone with it. */
export function runStoreProcess(setup: ChildSetup): void {
  // A terminal's Ctrl-C reaches the whole group; only the parent decides when this process stops.
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => undefined)
  const channel = parentChannel()
  let life: { readonly engine: StoreEngine; readonly services: ProcessServices } | undefined
  const engine = (): StoreEngine => {
    if (life === undefined) throw new Error('the store process was used before it was started')
    return life.engine
  }
  const handlers: Handlers<StoreMethods> = {
    async start({ raw }) {
      const config = setup.parse(raw)
      const services = await processServices(config, setup.registry, 'store')
      life = { services, engine: new StoreEngine(services, new StatusBoard(services.clock)) }
      await life.engine.start(config)
      return null
    },
    async reload({ raw }) {
      return { changed: await engine().reload(setup.parse(raw)) }
    },
    query: (request) => engine().query(request),
    health: () => engine().health(),
    metrics: () => life?.services.meter.snapshot() ?? [],
    async stop({ deadlineMs }) {
      await life?.engine.stop(AbortSignal.timeout(deadlineMs))
      await life?.services.tracing?.stop()
      await life?.services.state.close()
      setImmediate(() => process.disconnect?.())
      return null
    },
    poke({ connector }) {
      life?.engine.poke(connector)
      return null
    },
  }
  new Rpc(channel, handlers)
  // Whatever was in flight stays frozen and is repeated by the next process.
  channel.onClose(() => process.exit(0))
}

function parentChannel(): Channel {
  return {
    send: (message) => {
      if (process.connected) process.send?.(message, undefined, undefined, () => undefined)
    },
    onMessage: (listener) => void process.on('message', listener),
    onClose: (listener) => void process.once('disconnect', listener),
  }
}
