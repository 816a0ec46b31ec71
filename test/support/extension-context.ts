import type { Context } from '../../pipeline/factory.ts'
import { reject } from '../../pipeline/fault.ts'
import type { Host } from '../../pipeline/host.ts'
import { NOBODY_KNOWN } from '../../pipeline/identity/view.ts'
import { ByteGate } from '../../pipeline/intake.ts'
import { JobDesk } from '../../pipeline/jobs/desk.ts'
import { Pressure } from '../../pipeline/pressure.ts'
import { NO_USAGE } from '../../pipeline/usage/usage.ts'
import { ListenerPool } from '../../pipeline/net/listener-pool.ts'
import type { StateStore } from '../../pipeline/state/state.ts'
import { createLogger } from '../../pipeline/telemetry/logger.ts'
import { createMeter, type PromMeter } from '../../pipeline/telemetry/prom-meter.ts'

export interface ExtensionContext {
  readonly context: Context
  readonly meter: PromMeter
  /** Everything that was logged. */
  readonly lines: string[]
  readonly close: () => Promise<void>
}

/** What an extension is given, real but for the state store, which no server here uses. */
export function extensionContext(id: string): ExtensionContext {
  const lines: string[] = []
  const meter = createMeter()
  const listeners = new ListenerPool()
  const destination = { write: (line: string) => void lines.push(line) }
  const context: Context = {
    id,
    kind: 'extension',
    log: createLogger({ level: 'debug', encoding: 'json', resource: {}, destination }),
    meter,
    clock: Date.now,
    state: {} as StateStore,
    identity: NOBODY_KNOWN,
    listeners,
    intake: new ByteGate(1024 * 1024),
    pressure: new Pressure(),
    usage: NO_USAGE,
  }
  return { context, meter, lines, close: () => listeners.close() }
}

/** A daemon of which only `parts` answer. */
export function stubHost(parts: Partial<Host>): Host {
  const absent = () => Promise.reject(reject('NOT_FOUND', 'not part of this test'))
  return {
    version: 'test',
    health: absent,
    metrics: absent,
    reload: absent,
    query: absent,
    reprice: absent,
    letterDesks: () => [],
    artifactShelves: () => [],
    cursorDesks: () => [],
    jobDesk: () => new JobDesk({} as StateStore, [], Date.now),
    ...parts,
  }
}
