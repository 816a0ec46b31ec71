import type { ProcessorFactory } from '../../pipeline/factory.ts'
import { config } from './config.ts'

export const artifacts: ProcessorFactory<typeof config> = {
  type: 'artifacts',
  summary:
    'Moves large values to S3 or a directory, by content and encrypted; leaves a preview and a reference.',
  config,
  async load() {
    const { ArtifactsProcessor } = await import('./artifacts.ts')
    return { create: (options, context) => new ArtifactsProcessor(options, context) }
  },
  async loadShelf() {
    const { Shelf } = await import('./shelf.ts')
    return { create: (options, context) => new Shelf(options, context) }
  },
}
