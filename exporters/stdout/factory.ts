import { Socket } from 'node:net'
import type { ExporterFactory } from '../../pipeline/factory.ts'
import { config } from './config.ts'
import { FileSink } from './file-sink.ts'
import { StdoutExporter } from './stdout.ts'

export const stdout: ExporterFactory<typeof config> = {
  type: 'stdout',
  aliases: ['debug'],
  summary: 'Prints batches to standard output, as text or as OTLP/JSON lines.',
  config,
  create: (options) =>
    new StdoutExporter(
      options,
      // Pipes and terminals are sockets to Node; anything else is a file.
      process.stdout instanceof Socket ? process.stdout : new FileSink(1),
      process.stdout.isTTY && process.env['NO_COLOR'] === undefined,
    ),
}
