import { parseArgs } from 'node:util'
import { scaled, USD_DIGITS, usdText } from '../pipeline/genai/decimal.ts'
import { safeJson } from '../pipeline/telemetry/safe-text.ts'
import { apiClient, CLIENT_FLAGS, CLIENT_HELP, type ApiClient } from './client.ts'
import { noPositionals } from './flags.ts'
import { cellOf, table, type Column } from './table.ts'
import { UsageError, type Io, type Verb } from './verb.ts'

export const verb: Verb = {
  name: 'reprice',
  summary: 'Price what is stored again, with the prices that the daemon has now.',
  help: `Usage: weir reprice --from T --to T [--tenant ID] [--exporter ID] [--dry-run] [--json]

Calls that started in [from, to) are priced again by the daemon's cost processor: its price table, its overrides. The
cost columns of those that come out differently are rewritten; a second run changes nothing. One that was interrupted is
finished by the same command. Needs the admin role. Figures are those of the stored calls; where traces were sampled,
\`weir cost\` estimates what there was.

  --from T, --to T   a UTC day (2026-08-01) or an instant (2026-08-01T12:00:00Z); --to is not included
  --tenant ID        only this tenant's calls
  --exporter ID      which clickhouse exporter, where the config has several
  --dry-run          tell what would change, and change nothing
  --json             data instead of a table
${CLIENT_HELP}

Examples:
  weir reprice --from 2026-08-01 --to 2026-09-01 --dry-run
  weir reprice --from 2026-08-01 --to 2026-09-01 --tenant acme
`,
  run,
}

const FLAGS = {
  ...CLIENT_FLAGS,
  from: { type: 'string' },
  to: { type: 'string' },
  tenant: { type: 'string' },
  exporter: { type: 'string' },
  'dry-run': { type: 'boolean', default: false },
  json: { type: 'boolean', default: false },
} as const

interface Line {
  readonly provider: string
  readonly model: string
  calls: number
  changed: number
  oldUnits: bigint
  newUnits: bigint
  oldUnpriced: number
  newUnpriced: number
}

/** The reply of `POST /v1/reprice`. */
interface Answer {
  readonly models: readonly {
    readonly provider: string
    readonly model: string
    readonly calls: number
    readonly changed: number
    readonly old_usd: string
    readonly new_usd: string
    readonly old_unpriced: number
    readonly new_unpriced: number
  }[]
  readonly next: string | null
}

async function run(argv: readonly string[], io: Io): Promise<number> {
  const { values, positionals } = parseArgs({ args: [...argv], options: FLAGS, allowPositionals: true })
  noPositionals('reprice', positionals)
  const { from, to } = values
  if (from === undefined || to === undefined) throw new UsageError('reprice needs --from and --to')
  for (const text of [from, to]) {
    if (!/^\d{4}-\d{2}-\d{2}/.test(text) || Number.isNaN(Date.parse(text)))
      throw new UsageError(
        `${text} is not a day such as 2026-08-01, nor an instant such as 2026-08-01T12:00:00Z`,
      )
  }
  const request = {
    to,
    dry_run: values['dry-run'],
    ...(values.tenant === undefined ? {} : { tenant: values.tenant }),
    ...(values.exporter === undefined ? {} : { exporter: values.exporter }),
  }
  const lines = await collect(apiClient(io, values.endpoint), from, request, io)
  if (values.json) io.out(`${safeJson(JSON.stringify(dataOf(lines, values['dry-run'])))}\n`)
  else io.out(report(lines, values['dry-run']))
  return 0
}

/** The daemon does as much as its budget allows and says where to go on. */
async function collect(client: ApiClient, first: string, request: object, io: Io): Promise<readonly Line[]> {
  const lines = new Map<string, Line>()
  for (let from: string | null = first; from !== null;) {
    const answer = (await client.post('/v1/reprice', { ...request, from })) as Answer
    for (const model of answer.models) add(lines, model)
    from = answer.next
    if (from !== null && io.tty) io.err(`… done up to ${from}\n`)
  }
  return [...lines.values()].sort((a, b) => Number(b.newUnits - b.oldUnits) - Number(a.newUnits - a.oldUnits))
}

function add(lines: Map<string, Line>, model: Answer['models'][number]): void {
  const key = JSON.stringify([model.provider, model.model])
  const line = lines.get(key) ?? {
    provider: model.provider,
    model: model.model,
    calls: 0,
    changed: 0,
    oldUnits: 0n,
    newUnits: 0n,
    oldUnpriced: 0,
    newUnpriced: 0,
  }
  line.calls += model.calls
  line.changed += model.changed
  line.oldUnits += scaled(model.old_usd, USD_DIGITS) ?? 0n
  line.newUnits += scaled(model.new_usd, USD_DIGITS) ?? 0n
  line.oldUnpriced += model.old_unpriced
  line.newUnpriced += model.new_unpriced
  lines.set(key, line)
}

function totalOf(lines: readonly Line[]): Line {
  const total = { calls: 0, changed: 0, oldUnits: 0n, newUnits: 0n, oldUnpriced: 0, newUnpriced: 0 }
  for (const line of lines) {
    total.calls += line.calls
    total.changed += line.changed
    total.oldUnits += line.oldUnits
    total.newUnits += line.newUnits
    total.oldUnpriced += line.oldUnpriced
    total.newUnpriced += line.newUnpriced
  }
  return { provider: 'total', model: '', ...total }
}

function dataOf(lines: readonly Line[], dryRun: boolean): unknown {
  const plain = ({ provider, model, calls, changed, ...rest }: Line) => ({
    provider,
    model,
    calls,
    changed,
    old_usd: usdText(rest.oldUnits),
    new_usd: usdText(rest.newUnits),
    old_unpriced: rest.oldUnpriced,
    new_unpriced: rest.newUnpriced,
  })
  const { provider: _, model: __, ...total } = plain(totalOf(lines))
  return { dry_run: dryRun, models: lines.map(plain), total }
}

const COLUMNS: readonly Column[] = [
  { title: 'provider' },
  { title: 'model' },
  ...['calls', 'changed', 'old usd', 'new usd', 'difference', 'unpriced'].map((title) => ({
    title,
    right: true,
  })),
]

function report(lines: readonly Line[], dryRun: boolean): string {
  const total = totalOf(lines)
  if (total.calls === 0) return 'no model calls in that time\n'
  const touched = lines.filter(({ changed }) => changed > 0)
  const rows = [...touched, total].map((line) => [
    cellOf(line.provider) || '(none)',
    cellOf(line.model) || (line === total ? '' : '(none)'),
    String(line.calls),
    String(line.changed),
    usdText(line.oldUnits),
    usdText(line.newUnits),
    signed(line.newUnits - line.oldUnits),
    line.oldUnpriced === line.newUnpriced
      ? String(line.newUnpriced)
      : `${line.oldUnpriced} → ${line.newUnpriced}`,
  ])
  const same = lines.length - touched.length
  const rest = same > 0 ? `${same} ${same === 1 ? 'model' : 'models'} without a change not shown\n` : ''
  return `${table(COLUMNS, rows)}${rest}${dryRun ? 'dry run: nothing was written\n' : ''}`
}

function signed(units: bigint): string {
  return units > 0n ? `+${usdText(units)}` : usdText(units)
}
