import type { ExtensionFactory } from '../../pipeline/factory.ts'
import { config } from './config.ts'

export const api: ExtensionFactory<typeof config> = {
  type: 'api',
  summary: 'The API behind the verbs: status, reload, SQL over what is stored.',
  config,
  async load() {
    const { ApiExtension } = await import('./api.ts')
    return { create: (options, context, host) => new ApiExtension(options, context, host) }
  },
}
