import { parseArgs } from 'node:util'
import { apiClient, CLIENT_FLAGS, CLIENT_HELP } from '../client.ts'
import { noPositionals } from '../flags.ts'
import { askFor } from '../job.ts'
import { UsageError, type Io } from '../verb.ts'

export const PIPELINE_HELP = `Usage: weir replay pipeline --pipeline P [--exporter E] [--source S] [--from T] [--to T] [--from-seq N] [--to-seq N]
                            [--tenant ID] [--run ID] [--trace ID] [--rate N] [--replace | --reprice] [--dry-run] [--json]

Spans are read again, pass the pipeline's processors as they are configured now, and go into its exporter. A ClickHouse
table gets only what it does not hold; with --replace what it holds is replaced. Other exporters deliver again. It is a
run of the job \`replay\`: it waits with a progress bar, Ctrl-C ends the waiting only, \`weir job cancel replay RUN\` ends the
run, and one that its daemon does not survive goes on where it was. Needs the admin role.

  --pipeline P       the store pipeline, such as traces/store
  --exporter E       which of its exporters, where it has several
  --source S         wal; s3:EXPORTER or file:EXPORTER, what that exporter has archived; a file or directory below
                     one of jobs.replay.directories; default: the WAL, and what it has no more from an s3 archive
  --prefix P         keys of the bucket that begin so, such as those of the collector's awss3 exporter
  --from T, --to T   spans that started in [from, to): a UTC day (2026-08-01) or an instant (2026-08-01T12:00:00Z)
  --from-seq N, --to-seq N
                     messages of the WAL, both included
  --tenant ID        only this tenant's spans; whose spans a file holds, which does not say
  --run ID, --trace ID
                     only the spans of this run, or trace
  --rate N           at most so many spans per second
  --replace          replace what the table holds, after a change of redaction or of any processor
  --reprice          give what the table holds the prices of now
  --dry-run          count, and deliver nothing
  --no-wait          print the number of the run and leave
  --json             data instead of a table
${CLIENT_HELP}

Examples:
  weir replay pipeline --pipeline traces/store --exporter clickhouse --from 2026-08-01T14:00:00Z --to 2026-08-01T15:00:00Z --dry-run
  weir replay pipeline --pipeline traces/store --exporter clickhouse --source s3:s3 --from 2026-07-01 --to 2026-08-01 --rate 20000
  weir replay pipeline --pipeline traces/store --exporter clickhouse --run 3f1c2d4e-0000-4000-8000-5a6b7c8d9e0f --replace
`

const FLAGS = {
  ...CLIENT_FLAGS,
  pipeline: { type: 'string' },
  exporter: { type: 'string' },
  source: { type: 'string' },
  prefix: { type: 'string' },
  from: { type: 'string' },
  to: { type: 'string' },
  'from-seq': { type: 'string' },
  'to-seq': { type: 'string' },
  tenant: { type: 'string' },
  run: { type: 'string' },
  trace: { type: 'string' },
  rate: { type: 'string' },
  replace: { type: 'boolean', default: false },
  reprice: { type: 'boolean', default: false },
  'dry-run': { type: 'boolean', default: false },
  'no-wait': { type: 'boolean', default: false },
  json: { type: 'boolean', default: false },
} as const

/** Flags that are parameters of the job under the same name, in snake_case. */
const PARAMS = [
  'pipeline',
  'exporter',
  'source',
  'prefix',
  'from',
  'to',
  'from-seq',
  'to-seq',
  'tenant',
  'run',
  'trace',
  'rate',
  'replace',
  'reprice',
] as const

export async function run(argv: readonly string[], io: Io): Promise<number> {
  const { values, positionals } = parseArgs({ args: [...argv], options: FLAGS, allowPositionals: true })
  noPositionals('replay pipeline', positionals)
  if (values.pipeline === undefined) throw new UsageError('replay pipeline needs --pipeline')
  const given = PARAMS.map((name) => [name.replace('-', '_'), values[name]] as const)
  const params = Object.fromEntries(given.filter(([, value]) => value !== undefined))
  return await askFor(apiClient(io, values.endpoint), 'replay', params, values, io)
}
