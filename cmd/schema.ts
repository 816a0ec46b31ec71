import { parseArgs } from 'node:util'
import { configSchema } from '../config/schema.ts'
import { renderDdl } from '../exporters/clickhouse/ddl.ts'
import { duration } from '../pipeline/schema.ts'
import { registry } from './registry.ts'
import { UsageError, type Io, type Verb } from './verb.ts'

const help = `Usage: weir schema
       weir schema clickhouse [--database D] [--table T] [--cluster C] [--replicated] [--distributed] [--ttl 720h] [--strict] [--from N]

Prints the JSON Schema of the config. With the YAML language server, write as a config's first line:
  # yaml-language-server: $schema=schema.json

\`clickhouse\` prints the SQL of the tables and views instead, for an exporter with \`create_schema: false\`. The statements can be
applied again: what is there stays.

  --database D    default: default
  --table T       default: otel_traces
  --cluster C     ON CLUSTER C in every statement
  --replicated    ReplicatedMergeTree, at /clickhouse/tables/{shard}/{database}/{table} in Keeper, {replica} (macros of your servers)
  --distributed   tables T_local on every shard, and T Distributed over them by cityHash64(TraceId); needs --cluster
  --ttl 720h      delete spans by the age of their start
  --strict        sync every insert to disk
  --from N        only the migrations from number N on: for an upgrade
`

const OPTIONS = {
  // The output is JSON anyway; `--json` is taken so that scripts may say it everywhere.
  json: { type: 'boolean' },
  database: { type: 'string' },
  table: { type: 'string' },
  cluster: { type: 'string' },
  replicated: { type: 'boolean' },
  distributed: { type: 'boolean' },
  ttl: { type: 'string' },
  strict: { type: 'boolean' },
  from: { type: 'string' },
} as const

export const verb: Verb = {
  name: 'schema',
  summary: 'JSON Schema of the config, for editors; SQL of the ClickHouse tables',
  help,
  run: schema,
}

type Values = ReturnType<typeof parseArgs<{ options: typeof OPTIONS }>>['values']

async function schema(argv: readonly string[], io: Io): Promise<number> {
  const { values, positionals } = parseArgs({ args: [...argv], options: OPTIONS, allowPositionals: true })
  const [of, ...rest] = positionals
  if (rest.length > 0 || (of !== undefined && of !== 'clickhouse')) {
    throw new UsageError(`schema takes nothing or \`clickhouse\`, not "${positionals.join(' ')}"`)
  }
  if (of === undefined) {
    const flag = Object.keys(values).find((name) => name !== 'json')
    if (flag !== undefined) throw new UsageError(`--${flag} is of \`weir schema clickhouse\``)
    io.out(JSON.stringify(configSchema(registry), null, 2))
    return 0
  }
  io.out(await renderDdl(ddlOptions(values)))
  return 0
}

function ddlOptions(values: Values) {
  const { database = 'default', table = 'otel_traces', cluster, ttl = '0', from = '1' } = values
  for (const [flag, name] of Object.entries({ database, table })) {
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) throw new UsageError(`--${flag} must be a plain name`)
  }
  const age = duration().safeParse(ttl)
  if (!age.success) throw new UsageError('--ttl must be a duration such as 720h')
  if (!/^\d{1,4}$/.test(from)) throw new UsageError('--from must be the number of a migration')
  if (values.distributed === true && cluster === undefined)
    throw new UsageError('--distributed needs --cluster')
  return {
    database,
    table,
    cluster,
    replicated: values.replicated ?? false,
    distributed: values.distributed ?? false,
    ttlSeconds: Math.ceil(age.data / 1000),
    strict: values.strict ?? false,
    from: Number(from),
  }
}
