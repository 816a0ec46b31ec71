import type { JobFactory } from '../../pipeline/factory.ts'
import { config } from './config.ts'
import { params } from './params.ts'

export const replay: JobFactory<typeof config> = {
  type: 'replay',
  summary:
    'Delivers again what the WAL or an archive holds, through a pipeline into its store, without storing twice.',
  config,
  params,
  onDemand: true,
  async load() {
    const { ReplayJob } = await import('./replay.ts')
    return { create: (options, context) => new ReplayJob(options, context) }
  },
}
