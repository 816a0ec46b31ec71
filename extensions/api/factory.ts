import type { ExtensionFactory } from '../../pipeline/factory.ts'
import { ApiExtension } from './api.ts'
import { config } from './config.ts'

export const api: ExtensionFactory<typeof config> = {
  type: 'api',
  summary: 'The API behind the verbs: status, reload, SQL over what is stored.',
  config,
  create: (options, context, host) => new ApiExtension(options, context, host),
}
