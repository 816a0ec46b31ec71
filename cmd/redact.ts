import { parseArgs } from 'node:util'
import { safeJson } from '../pipeline/telemetry/safe-text.ts'
import { apiClient, CLIENT_FLAGS, CLIENT_HELP } from './client.ts'
import { awaitRun } from './job-wait.ts'
import { counted } from './table.ts'
import { UsageError, type Io, type Verb } from './verb.ts'

export const verb: Verb = {
  name: 'redact',
  summary: 'Redact what is stored of a run once more, by the rules of now.',
  help: `Usage: weir redact run ID [--tenant ID] [--dry-run] [--no-wait] [--json]

Looks at every stored span of the run with the daemon's sanitizer as it is now, and replaces those that come out
differently. ID is a run id or a trace id. Needs the admin role. For all runs of a time: weir job run redaction_sweep.

  --tenant ID        only this tenant's run
  --dry-run          tell how many spans would change, and change nothing
  --no-wait          print the number of the job's run and leave
  --json             data instead of text
${CLIENT_HELP}

Examples:
  weir redact run nightly-41 --dry-run
`,
  run,
}

const FLAGS = {
  ...CLIENT_FLAGS,
  tenant: { type: 'string' },
  'dry-run': { type: 'boolean', default: false },
  'no-wait': { type: 'boolean', default: false },
  json: { type: 'boolean', default: false },
} as const

const JOB = 'redaction_sweep'

async function run(argv: readonly string[], io: Io): Promise<number> {
  const { values, positionals } = parseArgs({ args: [...argv], options: FLAGS, allowPositionals: true })
  const [what, id, ...more] = positionals
  if (what !== 'run' || id === undefined || more.length > 0) throw new UsageError('say run and one id')
  const client = apiClient(io, values.endpoint)
  const { tenant, 'dry-run': dryRun } = values
  const params = { run: id, ...(tenant !== undefined && { tenant }) }
  const asked = (await client.post(`/v1/jobs/${JOB}/runs`, { params, dry_run: dryRun })) as { run: string }
  if (values['no-wait']) {
    io.out(values.json ? `${JSON.stringify(asked)}\n` : `${asked.run}\n`)
    return 0
  }
  const ended = await awaitRun(client, JOB, asked.run, io)
  if (values.json) io.out(`${safeJson(JSON.stringify({ run: ended }))}\n`)
  else if (ended.status === 'success') io.out(told(ended.report?.counts ?? {}, dryRun))
  else io.err(`the run of ${JOB} ended as ${ended.status}: ${safeJson(ended.error ?? '')}\n`)
  return ended.status === 'success' ? 0 : 1
}

function told(counts: Readonly<Record<string, number>>, dryRun: boolean): string {
  const of = `of ${counted(counts['spans'] ?? 0, 'span')}`
  return dryRun
    ? `${counts['would_change'] ?? 0} ${of} would change\n`
    : `${counts['changed'] ?? 0} ${of} changed\n`
}
