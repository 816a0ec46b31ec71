import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { formatErrors, loadConfig } from '../config/load.ts'
import type { Config } from '../pipeline/config.ts'
import { crashLoudly } from '../pipeline/engine/crash.ts'
import { letHeapGrow } from '../pipeline/engine/heap-growth.ts'
import { Daemon } from '../pipeline/engine/daemon.ts'
import { processServices } from '../pipeline/engine/process-services.ts'
import { messageOf, reject } from '../pipeline/fault.ts'
import type { Log } from '../pipeline/telemetry/log.ts'
import { registry } from './registry.ts'
import { UsageError, type Io, type Verb } from './verb.ts'
import { VERSION } from './version.ts'

const help = `Usage: weir run --config FILE [--config FILE …] [--set key.path=value …]

Runs the daemon until SIGTERM or SIGINT, then drains within service.shutdown_timeout.
SIGHUP and POST /-/reload load the same files again: everything is validated and built first,
unchanged components run on, and if anything fails the old configuration does.

  --config FILE     a YAML file; several are merged, later ones win
  --set KEY=VALUE   sets one key, e.g. --set receivers.otlp.protocols.grpc.endpoint=127.0.0.1:0
`

export const verb: Verb = {
  name: 'run',
  summary: 'run the daemon',
  help,
  run: runDaemon,
}

async function runDaemon(argv: readonly string[], io: Io): Promise<number> {
  const { values } = parseArgs({
    args: [...argv],
    options: { config: { type: 'string', multiple: true }, set: { type: 'string', multiple: true } },
  })
  if (values.config === undefined) throw new UsageError('run needs --config FILE')
  const files = values.config
  const sets = values.set ?? []
  const load = async (): Promise<Config> => {
    const result = loadConfig({ files, sets, env: io.env }, registry)
    if (!result.ok) throw reject('CONFIG_INVALID', formatErrors(result.errors))
    return result.config
  }
  const result = loadConfig({ files, sets, env: io.env }, registry)
  if (!result.ok) {
    io.err(formatErrors(result.errors))
    return 1
  }
  for (const notice of result.notices) io.err(notice)
  return serve(result.config, load)
}

async function serve(config: Config, load: () => Promise<Config>): Promise<number> {
  letHeapGrow()
  // Before anything is open, so that no signal meets Node's default.
  const stopAsked = firstOf(['SIGTERM', 'SIGINT'])
  let daemon: Daemon | undefined
  const onHangup = (): void => {
    // The outcome is logged by the daemon; a failed reload leaves the old configuration running.
    daemon?.reload().catch(() => undefined)
  }
  process.on('SIGHUP', onHangup)
  const services = await processServices(config, registry, 'intake', (connector) => daemon?.poke(connector))
  const { log } = services
  crashLoudly(() => log)
  const storeModule = fileURLToPath(new URL('./store.js', import.meta.url))
  daemon = new Daemon({ services, version: VERSION, storeModule, load })
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

/** The first of these signals; later ones are heard and ignored. */
function firstOf(signals: readonly NodeJS.Signals[]): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    for (const signal of signals) process.on(signal, () => resolve(signal))
  })
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
