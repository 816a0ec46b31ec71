import type { WalConfig } from '../connectors/wal/config.ts'
import type { Config } from '../pipeline/config.ts'
import { stateConfig } from '../pipeline/engine/process-services.ts'
import { cursorName } from '../pipeline/factory.ts'
import { createStateStore } from '../pipeline/state/create.ts'
import type { StateStore } from '../pipeline/state/state.ts'
import { createLogger } from '../pipeline/telemetry/logger.ts'
import { registerCursor } from '../pipeline/wal/cursor-store.ts'
import { loadWalDriver } from '../pipeline/wal/driver-config.ts'
import { ownerOf } from '../pipeline/wal/log-owner.ts'
import { named } from './named.ts'

export type AdoptFrom = 'earliest' | 'latest'

/** A cursor of the config, with the next sequence that it reads. */
export interface Adopted {
  readonly cursor: string
  readonly connector: string
  readonly position: number
  /** The last sequence of the log. */
  readonly last: number
}

const LOG = createLogger({ level: 'warn', encoding: 'console', resource: {} })

/**
 * Gives the logs of the config to its state store, whose they were before; cursors that the store does not know start as `from` says.
 * CONFLICT while a daemon has one of them open.
 */
export async function adoptLogs(config: Config, from: AdoptFrom): Promise<Adopted[]> {
  const state = await createStateStore(stateConfig(config), LOG)
  await state.open()
  try {
    const adopted: Adopted[] = []
    for (const { id, value } of named(config, 'connectors')) {
      adopted.push(...(await adopt(id, value as WalConfig, cursorsOf(config, id), state, from)))
    }
    return adopted
  } finally {
    await state.close()
  }
}

async function adopt(
  connector: string,
  settings: WalConfig,
  cursors: readonly string[],
  state: StateStore,
  from: AdoptFrom,
): Promise<Adopted[]> {
  const driver = (await loadWalDriver(settings))({ log: LOG, clock: Date.now })
  await driver.open()
  try {
    if (driver.claim === undefined) return []
    await driver.claim(await ownerOf(state), true)
    const { firstSeq, lastSeq: last } = await driver.info()
    const start = from === 'earliest' ? firstSeq : last + 1
    return await Promise.all(
      cursors.map(async (cursor) => {
        const { position } = await registerCursor(state, connector, cursor, start, Date.now())
        return { cursor, connector, position, last }
      }),
    )
  } finally {
    await driver.close()
  }
}

function cursorsOf(config: Config, connector: string): string[] {
  return [...config.service.pipelines.values()]
    .filter(({ receivers }) => receivers.includes(connector))
    .flatMap(({ id, exporters }) => exporters.map((exporter) => cursorName(id, exporter)))
}
