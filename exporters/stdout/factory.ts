import { Socket } from 'node:net'
import type { ExporterFactory } from '../../pipeline/factory.ts'
import { config } from './config.ts'

export const stdout: ExporterFactory<typeof config> = {
  type: 'stdout',
  aliases: ['debug'],
  summary: 'Prints batches to standard output, as text or as OTLP/JSON lines.',
  config,
  async load() {
    const [{ StdoutExporter }, { FileSink }] = await Promise.all([
      import('./stdout.ts'),
      import('./file-sink.ts'),
    ])
    // Pipes and terminals are sockets to Node; anything else is a file.
    const sink = process.stdout instanceof Socket ? process.stdout : new FileSink(1)
    const coloured = process.stdout.isTTY && process.env['NO_COLOR'] === undefined
    return { create: (options) => new StdoutExporter(options, sink, coloured) }
  },
}
