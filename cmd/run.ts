import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { formatErrors, loadConfig } from '../config/load.ts'
import type { Config } from '../pipeline/config.ts'
import { hasStore } from '../pipeline/engine/services.ts'
import { reject } from '../pipeline/fault.ts'
import { forkStore } from '../pipeline/store/forked.ts'
import { registry } from './registry.ts'
import { UsageError, type Io, type Verb } from './verb.ts'

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
  // Before anything is open, so that no signal meets Node's default.
  const stopAsked = firstOf(['SIGTERM', 'SIGINT'])
  const storeModule = fileURLToPath(new URL('./store.js', import.meta.url))
  // It loads its code while this process loads the rest of its own.
  const storeAhead = hasStore(result.config) ? forkStore(storeModule) : undefined
  const { serve } = await import('./serve.ts')
  return serve({ config: result.config, load, storeModule, storeAhead, stopAsked })
}

/** The first of these signals; later ones are heard and ignored. */
function firstOf(signals: readonly NodeJS.Signals[]): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    for (const signal of signals) process.on(signal, () => resolve(signal))
  })
}
