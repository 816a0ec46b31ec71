import type { JobFactory } from '../../pipeline/factory.ts'
import { config, params } from './config.ts'

export const retention: JobFactory<typeof config> = {
  type: 'retention',
  summary: 'Deletes what is over its time, in every store.',
  config,
  params,
  async load() {
    const { RetentionJob } = await import('./retention.ts')
    return { create: (options, context) => new RetentionJob(options, context) }
  },
}
