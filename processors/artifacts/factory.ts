import type { ProcessorFactory } from '../../pipeline/factory.ts'
import { ArtifactsProcessor } from './artifacts.ts'
import { config } from './config.ts'
import { Shelf } from './shelf.ts'

export const artifacts: ProcessorFactory<typeof config> = {
  type: 'artifacts',
  summary:
    'Moves large values to S3 or a directory, by content and encrypted; leaves a preview and a reference.',
  config,
  create: (options, context) => new ArtifactsProcessor(options, context),
  shelf: (options, context) => new Shelf(options, context),
}
