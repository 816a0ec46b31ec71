import type { Config } from '../pipeline/config.ts'
import { crashLoudly } from '../pipeline/engine/crash.ts'
import { Daemon, type DaemonSetup } from '../pipeline/engine/daemon.ts'
import { careForHeap } from '../pipeline/engine/heap-care.ts'
import { processServices } from '../pipeline/engine/process-services.ts'
import { messageOf } from '../pipeline/fault.ts'
import type { Log } from '../pipeline/telemetry/log.ts'
import { registry } from './registry.ts'
import { VERSION } from './version.ts'

interface Serving extends Pick<DaemonSetup, 'load' | 'storeModule' | 'storeAhead'> {
  readonly config: Config
  /** The signal that ends it. */
  readonly stopAsked: Promise<NodeJS.Signals>
}

/** The daemon's life, from a config that is valid to the exit code. */
export async function serve({ config, stopAsked, ...setup }: Serving): Promise<number> {
  careForHeap()
  let daemon: Daemon | undefined
  const onHangup = (): void => {
    // The outcome is logged by the daemon; a failed reload leaves the old configuration running.
    daemon?.reload().catch(() => undefined)
  }
  process.on('SIGHUP', onHangup)
  const services = await processServices(config, registry, 'intake', (connector) => daemon?.poke(connector))
  const { log } = services
  crashLoudly(() => log)
  daemon = new Daemon({ ...setup, services, version: VERSION })
  const started = daemon.start(config).then(
    () => undefined,
    (error: unknown) => ({ error }),
  )
  const failed = await Promise.race([started, stopAsked.then(() => undefined)])
  if (failed !== undefined) {
    log.fatal({ error: messageOf(failed.error) }, 'The daemon did not start')
    await daemon.stop()
    return 1
  }
  const signal = await stopAsked
  endOnSecond(log)
  log.info({ signal }, 'Draining')
  const troubles = await daemon.stop()
  for (const trouble of troubles) log.error(trouble)
  log.info('Stopped')
  process.off('SIGHUP', onHangup)
  return troubles.length === 0 ? 0 : 1
}

/** npm and a terminal both pass Ctrl-C on, so one wish to stop may come twice; after this it is another wish. */
const SAME_WISH_MS = 1000

function endOnSecond(log: Log): void {
  const sinceMs = performance.now()
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      if (performance.now() - sinceMs < SAME_WISH_MS) return
      log.error({ signal }, 'Ended before everything was drained, as asked twice')
      process.exit(1)
    })
  }
}
