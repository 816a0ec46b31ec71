import type { Config } from '../config.ts'
import { crashLoudly } from '../engine/crash.ts'
import { careForHeap } from '../engine/heap-care.ts'
import { processServices, type ProcessServices } from '../engine/process-services.ts'
import type { Registry } from '../factory.ts'
import { setLevel } from '../telemetry/logger.ts'
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
  careForHeap()
  crashLoudly(() => life?.services.log)
  const channel = parentChannel()
  let isStopping = false
  let life: { readonly engine: StoreEngine; readonly services: ProcessServices } | undefined
  const engine = (): StoreEngine => {
    if (life === undefined) throw new Error('the store process was used before it was started')
    return life.engine
  }
  const handlers: Handlers<StoreMethods> = {
    async start({ raw, holder }) {
      const config = setup.parse(raw)
      const services = await processServices(config, setup.registry, 'store')
      life = { services, engine: new StoreEngine({ ...services, holder }, new StatusBoard(services.clock)) }
      await life.engine.start(config)
      return null
    },
    async reload({ raw }) {
      const config = setup.parse(raw)
      try {
        const changed = await engine().reload(config)
        if (life !== undefined) setLevel(life.services.log, config.service.telemetry.logs.level)
        return { changed }
      } finally {
        // The parent starts another one with the old config.
        if (engine().isBroken) setImmediate(() => process.exit(1))
      }
    },
    query: (request) => engine().query(request),
    reprice: (request) => engine().reprice(request),
    health: () => engine().health(),
    metrics: () => life?.services.meter.snapshot() ?? [],
    async stop({ deadlineMs }) {
      isStopping = true
      await life?.engine.stop(AbortSignal.timeout(deadlineMs))
      await life?.services.tracing?.stop()
      await life?.services.closeState()
      setImmediate(() => process.disconnect?.())
      return null
    },
    poke({ connector }) {
      life?.engine.poke(connector)
      return null
    },
  }
  void new Rpc(channel, handlers)
  channel.onClose(() => leave(isStopping))
  // The parent may have died before there was anyone to hear of it.
  if (!process.connected) leave(isStopping)
}

/**
 * Whatever was in flight stays frozen and is repeated by the next process. A parent that died must not be outlived by
 * the lock on ClickHouse's directory, so nothing may hold up the end, the engine's own threads included.
 */
function leave(isStopping: boolean): void {
  if (isStopping) process.exit(0)
  process.kill(process.pid, 'SIGKILL')
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
