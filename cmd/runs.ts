import { readFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { parse } from 'yaml'
import { messageOf, reject } from '../pipeline/fault.ts'
import { safeJson } from '../pipeline/telemetry/safe-text.ts'
import { apiClient, CLIENT_FLAGS, CLIENT_HELP, type ApiClient } from './client.ts'
import { writeNew } from './file.ts'
import { diffReport, hasDifference, type DiffAnswer } from './runs/diff-report.ts'
import { listRuns } from './runs/list.ts'
import { showRun, type RunAnswer } from './runs/show.ts'
import { UsageError, type Io, type Verb } from './verb.ts'

export const verb: Verb = {
  name: 'runs',
  summary: 'Agent runs: ls, show, diff, fixture.',
  help: `Usage: weir runs ls [--since 24h] [--agent NAME] [--status STATUS] [--limit 50] [--json]
       weir runs show ID [--json]                 its steps
       weir runs diff A B [--profile P] [--all] [--exit-code] [--json]
       weir runs fixture ID [--error | --success] [--out FILE]

ID, A and B are run ids or trace ids. \`diff\` aligns the steps of two runs and tells apart what was done (tools and their
arguments), what it came to, and what it cost. \`fixture\` writes the recorded inputs and outputs of a run as JSON for a
test: up to the error that ended it, or to its success.

  --tenant ID        whose run, where several tenants have that id
  --profile P        what to leave out: a profile of the config, default, strict, or a file ./P.yaml of one (default "default")
  --all              also the steps that are the same
  --exit-code        exit with 1 when the runs differ
  --error, --success which case (default: by how the run ended)
  --out FILE         instead of standard output; a file that exists is not overwritten
  --since DURATION   by start: 30m, 24h, 7d (default 24h)
  --status STATUS    running, completed, failed or abandoned
  --json             data instead of a table
${CLIENT_HELP}

Examples:
  weir runs ls --status failed
  weir runs diff nightly-41 nightly-42 --profile ci --exit-code
  weir runs fixture nightly-42 --error --out test/fixtures/nightly-42.json
`,
  run,
}

const FLAGS = {
  ...CLIENT_FLAGS,
  tenant: { type: 'string' },
  profile: { type: 'string', default: 'default' },
  all: { type: 'boolean', default: false },
  'exit-code': { type: 'boolean', default: false },
  error: { type: 'boolean', default: false },
  success: { type: 'boolean', default: false },
  out: { type: 'string' },
  since: { type: 'string', default: '24h' },
  agent: { type: 'string' },
  status: { type: 'string' },
  limit: { type: 'string', default: '50' },
  json: { type: 'boolean', default: false },
} as const

type Values = ReturnType<typeof parsed>['values']

interface Order {
  readonly client: ApiClient
  readonly values: Values
  readonly ids: readonly string[]
  readonly io: Io
}

function parsed(argv: readonly string[]) {
  return parseArgs({ args: [...argv], options: FLAGS, allowPositionals: true })
}

async function run(argv: readonly string[], io: Io): Promise<number> {
  const { values, positionals } = parsed(argv)
  const [action = '', ...ids] = positionals
  const act = Object.hasOwn(ACTIONS, action) ? ACTIONS[action] : undefined
  if (act === undefined) throw new UsageError(`say what to do: ${Object.keys(ACTIONS).join(', ')}`)
  return act({ client: apiClient(io, values.endpoint), values, ids, io })
}

const ACTIONS: Readonly<Record<string, (order: Order) => Promise<number>>> = {
  ls({ client, values, ids, io }) {
    if (ids.length > 0) throw new UsageError(`ls takes filters only; use show ${ids[0]}`)
    return listRuns(client, values, io)
  },
  async show({ client, values, ids, io }) {
    const [id] = exactly(ids, 1, 'show needs one id')
    const answer = (await client.get(pathOf(id, '', values.tenant))) as RunAnswer
    io.out(values.json ? line(answer) : showRun(answer.run))
    return 0
  },
  async diff({ client, values, ids, io }) {
    const [a, b] = exactly(ids, 2, 'diff needs two ids')
    const tenant = values.tenant === undefined ? {} : { tenant: values.tenant }
    const profile = await profileOf(values.profile)
    const answer = (await client.post('/v1/diff', { a, b, profile, ...tenant })) as DiffAnswer
    io.out(values.json ? line(answer) : diffReport(answer, values.all, io))
    return values['exit-code'] && hasDifference(answer) ? 1 : 0
  },
  async fixture({ client, values, ids, io }) {
    const [id] = exactly(ids, 1, 'fixture needs one id')
    if (values.error && values.success) throw new UsageError('give --error or --success, not both')
    const of = values.error ? 'error' : values.success ? 'success' : undefined
    const fixture = await client.get(pathOf(id, '/fixture', values.tenant, of))
    const text = `${JSON.stringify(fixture, null, 2).split('\n').map(safeJson).join('\n')}\n`
    if (values.out === undefined) io.out(text)
    else await writeNew('--out', values.out, text)
    return 0
  },
}

function exactly(ids: readonly string[], count: number, otherwise: string): readonly string[] {
  if (ids.length !== count) throw new UsageError(otherwise)
  return ids
}

function pathOf(id = '', rest: string, tenant?: string, of?: string): string {
  const query = new URLSearchParams({
    ...(tenant !== undefined && { tenant }),
    ...(of !== undefined && { of }),
  })
  return `/v1/runs/${encodeURIComponent(id)}${rest}?${query.toString()}`
}

/** A file where it looks like one, else the name of a profile that the daemon knows. */
async function profileOf(text: string): Promise<unknown> {
  if (!/[/\\]|\.(ya?ml|json)$/.test(text)) return text
  try {
    return parse(await readFile(text, 'utf8'))
  } catch (error) {
    throw reject('REQUEST_INVALID', `--profile ${text}: ${messageOf(error)}`, { cause: error })
  }
}

function line(answer: unknown): string {
  return `${safeJson(JSON.stringify(answer))}\n`
}
