import { userInfo } from 'node:os'
import { auditRoutes } from '../../extensions/api/audit.ts'
import { audited } from '../../extensions/api/audited.ts'
import { identityRoutes } from '../../extensions/api/identity/routes.ts'
import type { Principal } from '../../extensions/api/principal.ts'
import { paramsOf, type Reply } from '../../extensions/api/route.ts'
import { stateConfig } from '../../pipeline/engine/process-services.ts'
import { reject } from '../../pipeline/fault.ts'
import { IdentityCache } from '../../pipeline/identity/cache.ts'
import { createAudit } from '../../pipeline/audit/create.ts'
import { createStateStore, createVault } from '../../pipeline/state/create.ts'
import { createMeter } from '../../pipeline/telemetry/prom-meter.ts'
import { createLogger } from '../../pipeline/telemetry/logger.ts'
import type { Config } from '../../pipeline/config.ts'
import { apiClient, CLIENT_FLAGS, CLIENT_HELP } from '../client.ts'
import { CONFIG_FLAGS, loadFor, type ConfigFlags } from '../flags.ts'
import { UsageError, type Io } from '../verb.ts'
import { VERSION } from '../version.ts'

/** Asks the API's routes that need the state store only. */
export type Ask = (method: string, path: string, body?: unknown) => Promise<Record<string, unknown>>

export const PORT_FLAGS = {
  ...CLIENT_FLAGS,
  ...CONFIG_FLAGS,
  json: { type: 'boolean', default: false },
} as const
export const PORT_HELP = `  --json             instead of a table
${CLIENT_HELP}
  --config FILE      work on the state store of this config itself, with no daemon in between:
                     whoever may read it may do so`

export interface PortFlags extends ConfigFlags {
  readonly endpoint?: string | undefined
  readonly json: boolean
}

/** Through a daemon, or with `--config` straight on the state store; undefined after printing what is wrong with the config. */
export async function withPort(
  verb: string,
  flags: PortFlags,
  io: Io,
  work: (ask: Ask) => Promise<void>,
): Promise<number> {
  if (flags.config === undefined) {
    if (flags.set !== undefined) throw new UsageError('--set goes with --config')
    const client = apiClient(io, flags.endpoint)
    await work((method, path, body) => client.call(method, path, body) as Promise<Record<string, unknown>>)
    return 0
  }
  if (flags.endpoint !== undefined) throw new UsageError('give either --endpoint or --config')
  const config = loadFor(verb, flags, io)
  if (config === undefined) return 1
  await offline(config, work)
  return 0
}

/** The daemons that use this store see the change as they see each other's. */
async function offline(config: Config, work: (ask: Ask) => Promise<void>): Promise<void> {
  const log = createLogger({ level: 'warn', encoding: 'console', resource: {} })
  const stored = stateConfig(config)
  const state = await createStateStore(stored, log)
  await state.open()
  const identity = new IdentityCache(state, log)
  const vault = createVault(stored)
  const audit = createAudit(stored, { state, vault, log, meter: createMeter(), clock: Date.now })
  try {
    await identity.start()
    const routes = [...identityRoutes({ state, identity, vault, clock: Date.now }), ...auditRoutes(state)]
    const principal: Principal = { actor: { id: userInfo().username, kind: 'local' }, role: 'admin' }
    const origin = { userAgent: `weir/${VERSION} --config` }
    await work(async (method, target, body) => {
      const [path = '', query = ''] = target.split('?', 2)
      for (const route of routes) {
        const params = paramsOf(route, path)
        if (route.method !== method || params === undefined) continue
        const call = { principal, params, query: new URLSearchParams(query), body, signal: NEVER }
        const reply: Reply = await audited(audit, route, call, origin)
        return reply.body as Record<string, unknown>
      }
      throw reject('NOT_FOUND', `there is no ${method} ${path}`)
    })
  } finally {
    await audit.stop()
    await identity.stop()
    await state.close()
  }
}

const NEVER = new AbortController().signal
