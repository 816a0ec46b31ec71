import type { ConnectorFactory } from '../../pipeline/factory.ts'
import { loadWalDriver } from '../../pipeline/wal/driver-config.ts'
import { config } from './config.ts'

export const wal: ConnectorFactory<typeof config> = {
  type: 'wal',
  summary:
    'The write-ahead log: OK means that it has the data, and every exporter reads it at its own cursor.',
  config,
  async load(settings, role) {
    const createDriver = await loadWalDriver(settings)
    if (role === 'intake') {
      const { IntakeSide } = await import('./intake-side.ts')
      return { create: (options, context) => new IntakeSide(options, context, createDriver(context)) }
    }
    const { StoreSide } = await import('./store-side.ts')
    return { create: (options, context) => new StoreSide(options, context, createDriver(context)) }
  },
}
