import type { ExtensionFactory } from '../../pipeline/factory.ts'
import { stateKey } from '../../pipeline/state/state.ts'
import { config } from './config.ts'

/** The daemon opens the store itself, before any component: every one of them gets it. Here it is configured and probed. */
export const state: ExtensionFactory<typeof config> = {
  type: 'state',
  summary: 'Where cursors, frozen ranges, leases and identity are kept.',
  config,
  load: () =>
    Promise.resolve({
      create: (_options, context) => ({
        async probe() {
          await context.state.get(stateKey('probe'))
        },
      }),
    }),
}
