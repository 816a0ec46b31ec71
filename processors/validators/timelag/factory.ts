import type { ValidatorFactory } from '../validator.ts'
import { config } from './config.ts'

export const timelag: ValidatorFactory<typeof config> = {
  type: 'timelag',
  summary: 'Gaps in time between the steps of a run, and clocks that go back.',
  config,
  async load() {
    const { Timelag } = await import('./validator.ts')
    return { create: (settings) => new Timelag(settings) }
  },
}
