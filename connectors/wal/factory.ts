import type { ConnectorFactory } from '../../pipeline/factory.ts'
import { config } from './config.ts'
import { IntakeSide } from './intake-side.ts'
import { StoreSide } from './store-side.ts'

export const wal: ConnectorFactory<typeof config> = {
  type: 'wal',
  summary:
    'The write-ahead log: OK means that it has the data, and every exporter reads it at its own cursor.',
  config,
  create: (options, context) =>
    context.role === 'intake' ? new IntakeSide(options, context) : new StoreSide(options, context),
}
