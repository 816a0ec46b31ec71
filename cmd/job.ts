import { parseArgs } from 'node:util'
import { safeJson, safeText } from '../pipeline/telemetry/safe-text.ts'
import { apiClient, CLIENT_FLAGS, CLIENT_HELP, type ApiClient } from './client.ts'
import { printRows, type Row } from './identity/print.ts'
import { awaitRun, type RunAnswer } from './job-wait.ts'
import { table } from './table.ts'
import { UsageError, type Io, type Verb } from './verb.ts'

export const verb: Verb = {
  name: 'job',
  summary: 'Jobs: ls, run, history, show, cancel.',
  help: `Usage: weir job ls [--json]
       weir job run JOB [--arg KEY=VALUE …] [--dry-run] [--no-wait] [--json]
       weir job history JOB [--limit N] [--json]
       weir job show JOB RUN [--json]
       weir job cancel JOB RUN

Jobs run in one daemon at a time, by the schedule that the config has or when asked. \`run\` asks, waits with a progress bar
and prints what came of it; Ctrl-C ends the waiting, not the run. A run that its daemon does not survive goes on in
another one where it was. Needs the admin role; ls, history and show the read role over all tenants.

  --arg KEY=VALUE    a parameter of the run; VALUE is JSON, or else text as it is
  --dry-run          tell what would be done, and do nothing
  --no-wait          print the number of the run and leave
  --limit N          how many runs (default 20, at most 100 are kept)
  --json             data instead of a table
${CLIENT_HELP}

Exit code of run: 0 when it succeeded, 1 when it failed, timed out or was cancelled.

Examples:
  weir job ls
  weir job run retention --dry-run
  weir job history retention --limit 5
`,
  run,
}

const FLAGS = {
  ...CLIENT_FLAGS,
  arg: { type: 'string', multiple: true, default: [] as string[] },
  'dry-run': { type: 'boolean', default: false },
  'no-wait': { type: 'boolean', default: false },
  limit: { type: 'string', default: '20' },
  json: { type: 'boolean', default: false },
} as const

const JOB_COLUMNS = ['job', 'schedule', 'timezone', 'next', 'state', 'last', 'last_success']
const RUN_COLUMNS = ['run', 'status', 'by', 'scheduled', 'started', 'ended', 'dry_run', 'result']

async function run(argv: readonly string[], io: Io): Promise<number> {
  const { values, positionals } = parseArgs({ args: [...argv], options: FLAGS, allowPositionals: true })
  const [action = '', job, id, ...more] = positionals
  const client = apiClient(io, values.endpoint)
  if (more.length > 0) throw new UsageError(`${more[0]} is one argument too many`)
  const wanted = job === undefined ? 1 : id === undefined ? 2 : 3
  switch (`${action} ${wanted}`) {
    case 'ls 1':
      return list(client, values.json, io)
    case 'run 2':
      return ask(client, job ?? '', values, io)
    case 'history 2':
      return history(client, job ?? '', values, io)
    case 'show 3':
      return print((await runOf(client, job ?? '', id ?? '')).run, values.json, io)
    case 'cancel 3':
      await client.call('DELETE', pathOf(job ?? '', id))
      io.out(values.json ? '{}\n' : `run ${safeText(id ?? '')} of ${safeText(job ?? '')} will end\n`)
      return 0
    default:
      throw new UsageError('say ls, run JOB, history JOB, show JOB RUN, or cancel JOB RUN')
  }
}

function pathOf(job: string, run?: string): string {
  const runs = `/v1/jobs/${encodeURIComponent(job)}/runs`
  return run === undefined ? runs : `${runs}/${encodeURIComponent(run)}`
}

async function list(client: ApiClient, json: boolean, io: Io): Promise<number> {
  const { jobs } = (await client.get('/v1/jobs')) as { jobs: JobAnswer[] }
  const rows = jobs.map((job) => ({
    ...job,
    schedule: job.schedule ?? 'when asked',
    state: stateOf(job),
    last: job.last === null ? null : `${job.last.outcome} ${job.last.ended}`,
  }))
  printRows(json ? (jobs as unknown as Row[]) : rows, JOB_COLUMNS, { name: 'jobs', json }, io)
  return 0
}

interface JobAnswer {
  readonly job: string
  readonly schedule: string | null
  readonly queued: number
  readonly running: RunAnswer | null
  readonly last: { readonly outcome: string; readonly ended: string } | null
}

function stateOf({ running, queued }: JobAnswer): string {
  const waiting = queued === 0 ? '' : `${queued} queued`
  if (running === null) return waiting
  const at = running.progress === undefined ? '' : ` ${running.progress.done} ${running.progress.unit}`
  return [`run ${running.run}${at}`, waiting].filter((text) => text !== '').join(', ')
}

interface RunFlags {
  readonly arg: readonly string[]
  readonly 'dry-run': boolean
  readonly 'no-wait': boolean
  readonly json: boolean
}

function ask(client: ApiClient, job: string, flags: RunFlags, io: Io): Promise<number> {
  return askFor(client, job, paramsOf(flags.arg), flags, io)
}

/** Asks for a run, waits for it with a progress bar, and prints what came of it; the exit code. */
export async function askFor(
  client: ApiClient,
  job: string,
  params: Readonly<Record<string, unknown>>,
  flags: Omit<RunFlags, 'arg'>,
  io: Io,
): Promise<number> {
  const body = { params, dry_run: flags['dry-run'] }
  const { run: id } = (await client.post(pathOf(job), body)) as { run: string }
  if (flags['no-wait']) {
    io.out(flags.json ? `${JSON.stringify({ job, run: id })}\n` : `${id}\n`)
    return 0
  }
  return print(await awaitRun(client, job, id, io), flags.json, io)
}

function paramsOf(args: readonly string[]): Record<string, unknown> {
  const pairs = args.map((arg): [string, unknown] => {
    const at = arg.indexOf('=')
    if (at < 1) throw new UsageError(`--arg ${arg} is not KEY=VALUE`)
    return [arg.slice(0, at), valueOf(arg.slice(at + 1))]
  })
  return Object.fromEntries(pairs)
}

function valueOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

async function history(
  client: ApiClient,
  job: string,
  { limit, json }: { readonly limit: string; readonly json: boolean },
  io: Io,
): Promise<number> {
  const most = Number(limit)
  if (!Number.isInteger(most) || most < 1) throw new UsageError(`--limit ${limit} is not a number from 1`)
  const answer = (await client.get(pathOf(job))) as { runs: RunAnswer[] }
  const runs = answer.runs.slice(0, most)
  const rows = runs.map((each) => ({ ...each, result: resultOf(each) }))
  printRows((json ? runs : rows) as unknown as Row[], RUN_COLUMNS, { name: 'runs', json }, io)
  return 0
}

async function runOf(client: ApiClient, job: string, id: string) {
  return (await client.get(pathOf(job, id))) as { run: RunAnswer }
}

function resultOf({ error, trouble, report }: RunAnswer): string {
  const counts = Object.entries(report?.counts ?? {}).map(([name, count]) => `${name}=${count}`)
  return error ?? trouble ?? counts.join(' ')
}

/** What came of a run, and its exit code. */
function print(answer: RunAnswer, json: boolean, io: Io): number {
  const failed = ['failure', 'timed_out', 'cancelled'].includes(answer.status)
  if (json) {
    io.out(`${safeJson(JSON.stringify(answer))}\n`)
    return failed ? 1 : 0
  }
  const { report, error, status, dry_run: dryRun } = answer
  const counts = Object.entries(report?.counts ?? {}).map(([name, count]) => [name, String(count)])
  if (counts.length > 0) io.out(table([{ title: 'count' }, { title: '', right: true }], counts))
  for (const note of report?.notes ?? []) io.out(`${safeText(note)}\n`)
  const why = error === undefined ? '' : `: ${safeText(error)}`
  io.out(`run ${answer.run}: ${status}${dryRun ? ' (dry run: nothing was changed)' : ''}${why}\n`)
  return failed ? 1 : 0
}
