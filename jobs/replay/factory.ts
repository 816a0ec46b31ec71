import type { JobFactory } from '../../pipeline/factory.ts'
import { config } from './config.ts'
import { params } from './params.ts'
import { ReplayJob } from './replay.ts'

export const replay: JobFactory<typeof config> = {
  type: 'replay',
  summary:
    'Delivers again what the WAL or an archive holds, through a pipeline into its store, without storing twice.',
  config,
  params,
  onDemand: true,
  create: (options, context) => new ReplayJob(options, context),
}
