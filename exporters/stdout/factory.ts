import type { ExporterFactory } from '../../pipeline/factory.ts'
import { config } from './config.ts'
import { StdoutExporter } from './stdout.ts'

export const stdout: ExporterFactory<typeof config> = {
  type: 'stdout',
  aliases: ['debug'],
  summary: 'Prints batches to standard output, as text or as OTLP/JSON lines.',
  config,
  create: (options) =>
    new StdoutExporter(
      options,
      process.stdout,
      process.stdout.isTTY && process.env['NO_COLOR'] === undefined,
    ),
}
