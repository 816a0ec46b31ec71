import { writeFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { replayPage } from '../../pipeline/run-replay/html.ts'
import { MODES, type ReplayedStep, type ReplayReport } from '../../pipeline/run-replay/report.ts'
import { safeJson, safeText } from '../../pipeline/telemetry/safe-text.ts'
import { apiClient, CLIENT_FLAGS, CLIENT_HELP } from '../client.ts'
import { unwritable } from '../file.ts'
import { clip, counted, table } from '../table.ts'
import { UsageError, type Io } from '../verb.ts'

export const RUN_HELP = `Usage: weir replay run RUN [--mode full|hybrid|verification] [--llm NAME] [--model M] [--html FILE] [--json]

Makes the calls of a recorded run (a run id or a trace id) again, one by one, each with the recorded request, and says
which answers agree: exact, minor, major, missed. The score is 1 when all are exact.

  full          every answer from the cache (the processor replay_cache, with consent): the same each time
  hybrid        tools from the cache, models asked again
  verification  models and tools again; snapshots that the run names are restored before

  --mode MODE        default full; the others take the role admin
  --llm NAME         where models are asked: a name under replay.llm of the api extension's config
  --model M          another model than the recorded one
  --tenant T         where several tenants have a run of this id
  --min-score S      exit code 1 when the score is below, 0 to 1
  --html FILE        writes the report as a page
  --all              every call in the table, not only those that differ
  --json             instead of a table
${CLIENT_HELP}

Examples:
  weir replay run 3f2504e0-4f89-41d3-9a0c-0305e82c3301
  weir replay run r-17 --mode hybrid --llm local --model llama-3.3-70b --html report.html
`

const FLAGS = {
  ...CLIENT_FLAGS,
  mode: { type: 'string', default: 'full' },
  llm: { type: 'string' },
  model: { type: 'string' },
  tenant: { type: 'string' },
  'min-score': { type: 'string' },
  html: { type: 'string' },
  all: { type: 'boolean', default: false },
  json: { type: 'boolean', default: false },
} as const

/** As long as the daemon lets a replay take. */
const TIMEOUT_MS = 3_600_000

export async function run(argv: readonly string[], io: Io): Promise<number> {
  const { values, positionals } = parseArgs({ args: [...argv], options: FLAGS, allowPositionals: true })
  const [id, ...more] = positionals
  if (id === undefined) throw new UsageError('replay run needs the id of a run')
  if (more.length > 0) throw new UsageError(`one run at a time, not "${more[0]}" too`)
  const { mode, llm, model, tenant } = values
  if (!(MODES as readonly string[]).includes(mode)) {
    throw new UsageError(`--mode ${mode} is none of ${MODES.join(', ')}`)
  }
  if (mode === 'full' && (llm ?? model) !== undefined) {
    throw new UsageError('--llm and --model go with --mode hybrid or verification: full asks no model')
  }
  const least = scoreOf(values['min-score'])
  const all = { mode, llm, model, tenant }
  const body = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined))
  const client = apiClient(io, values.endpoint)
  const path = `/v1/runs/${encodeURIComponent(id)}/replay`
  const { replay } = (await client.call('POST', path, body, TIMEOUT_MS)) as { replay: ReplayReport }
  if (values.html !== undefined) await writePage(values.html, replay)
  io.out(values.json ? `${safeJson(JSON.stringify(replay))}\n` : tableOf(replay, values.all))
  return replay.score < least ? 1 : 0
}

function scoreOf(text: string | undefined): number {
  if (text === undefined) return 0
  const score = Number(text)
  if (text.trim() !== '' && score >= 0 && score <= 1) return score
  throw new UsageError(`--min-score ${text} is not a number from 0 to 1`)
}

async function writePage(file: string, report: ReplayReport): Promise<void> {
  try {
    await writeFile(file, replayPage(report))
  } catch (error) {
    throw unwritable('--html', file, error)
  }
}

const COLUMNS = [
  { title: 'step', right: true },
  { title: 'kind' },
  { title: 'name' },
  { title: 'agreement' },
  { title: 'from' },
  { title: 'field' },
  { title: 'recorded' },
  { title: 'replayed' },
]

function tableOf(report: ReplayReport, all: boolean): string {
  const { score, counts, cost, latency_ms: latency, first_divergence: first } = report
  const head = [
    `score ${score.toFixed(4)} over ${counted(counts.calls, 'call')}: ${counts.exact} exact, ${counts.minor} minor, ${counts.major} major, ${counts.missed} missed`,
    `cost ${usd(cost.recorded)} → ${usd(cost.replayed)}, latency ${ms(latency.recorded)} → ${ms(latency.replayed)}`,
    ...(first === null
      ? []
      : [
          `first divergence: step ${first.seq ?? first.step}, ${first.kind} ${first.name}${first.field === null ? '' : `, ${first.field}`}: ${first.cause}`,
        ]),
  ]
  const shown = report.steps.filter(({ agreement }) => all || agreement !== 'exact')
  const rows = shown.length === 0 ? '' : `\n${table(COLUMNS, shown.map(cells))}`
  const tail = [
    ...report.notes.map((note) => `note: ${note}`),
    ...report.recommendations.map((each) => `recommended: ${each}`),
  ]
  return `${head.map(line).join('')}${rows}${tail.length === 0 ? '' : '\n'}${tail.map(line).join('')}`
}

function cells(step: ReplayedStep): readonly string[] {
  return [
    String(step.seq ?? step.step),
    step.kind,
    step.name,
    step.agreement ?? 'not compared',
    step.from ?? '-',
    step.field ?? '-',
    clip(step.recorded ?? '-', 32),
    clip(step.replayed ?? step.cause ?? '-', 32),
  ]
}

function line(text: string): string {
  return `${safeText(text)}\n`
}

function usd(amount: string | null): string {
  return amount === null ? 'unknown' : `$${amount}`
}

function ms(amount: number): string {
  return amount < 1000 ? `${Math.round(amount)} ms` : `${(amount / 1000).toFixed(1)} s`
}
