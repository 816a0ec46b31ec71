import { Fault, messageOf } from '../pipeline/fault.ts'
import { hint, quoted } from '../pipeline/input/suggest.ts'
import { UsageError, type Io, type Verb } from './verb.ts'
import { VERSION } from './version.ts'

interface VerbEntry {
  readonly name: string
  readonly summary: string
  /** Loaded only when the verb is called, so that `weir --help` answers at once. */
  load(): Promise<{ readonly verb: Verb }>
}

/** One line per verb, in the order of `weir --help`. */
export const VERBS: readonly VerbEntry[] = [
  { name: 'run', summary: 'run the daemon', load: () => import('./run.ts') },
  {
    name: 'validate',
    summary: 'check a config: all errors at once, with file:line:col',
    load: () => import('./validate.ts'),
  },
  {
    name: 'print-config',
    summary: 'the effective config, with defaults; secrets redacted',
    load: () => import('./print-config.ts'),
  },
  { name: 'components', summary: 'what is built in', load: () => import('./components.ts') },
  {
    name: 'schema',
    summary: 'JSON Schema of the config, for editors; SQL of the ClickHouse tables',
    load: () => import('./schema.ts'),
  },
  { name: 'query', summary: 'run SQL, or a named query, on a daemon', load: () => import('./query.ts') },
  {
    name: 'cost',
    summary: 'cost and tokens by model, tenant, agent, user, …',
    load: () => import('./cost.ts'),
  },
  {
    name: 'reprice',
    summary: 'price what is stored again, with the prices of now',
    load: () => import('./reprice.ts'),
  },
  {
    name: 'replay',
    summary: 'make a recorded run happen again, or a delivery: replay run, replay pipeline',
    load: () => import('./replay.ts'),
  },
  {
    name: 'dlq',
    summary: 'dead letters: ls, show, retry, purge',
    load: () => import('./dlq.ts'),
  },
  { name: 'cursor', summary: 'where each exporter is in the WAL: ls, rm', load: () => import('./cursor.ts') },
  { name: 'job', summary: 'jobs: ls, run, history, show, cancel', load: () => import('./job.ts') },
  {
    name: 'trace',
    summary: 'one trace as a tree with latency, tokens and cost',
    load: () => import('./trace.ts'),
  },
  { name: 'runs', summary: 'agent runs: ls, show, diff, fixture', load: () => import('./runs.ts') },
  { name: 'tenant', summary: 'tenants: create, ls, show, set, revoke', load: () => import('./tenant.ts') },
  {
    name: 'project',
    summary: 'projects of a tenant: create, ls, show, set, revoke',
    load: () => import('./project.ts'),
  },
  {
    name: 'agent',
    summary: 'agents of a tenant: create, ls, show, set, revoke',
    load: () => import('./agent.ts'),
  },
  {
    name: 'key',
    summary: 'API keys, HMAC secrets, certificates: create, ls, show, rotate, revoke',
    load: () => import('./key.ts'),
  },
  {
    name: 'consent',
    summary: 'what people have agreed to: grant, ls, show, revoke',
    load: () => import('./consent.ts'),
  },
  {
    name: 'redact',
    summary: 'redact what is stored of a run once more',
    load: () => import('./redact.ts'),
  },
  {
    name: 'pseudonym',
    summary: 'which pseudonym a value has',
    load: () => import('./pseudonym.ts'),
  },
  {
    name: 'artifact',
    summary: 'a large value that was moved out of its span',
    load: () => import('./artifact.ts'),
  },
  {
    name: 'audit',
    summary: 'who did, read or was refused what: query, verify, export, checkpoint',
    load: () => import('./audit.ts'),
  },
  { name: 'demo', summary: 'everything in one go on this machine', load: () => import('./demo.ts') },
  { name: 'bench', summary: 'load generator and benchmarks', load: () => import('./bench.ts') },
]

/** Verbs of the specification that a later version builds. */
const LATER = ['tail', 'erase', 'certificate', 'doctor', 'test']

/** argv without node and script → exit code: 0 ok, 1 failed, 2 usage. Never throws. */
export async function runCli(argv: readonly string[], io: Io): Promise<number> {
  const [name = '', ...rest] = argv
  if (name === '--version' || name === '-v' || name === 'version') return print(io, `weir ${VERSION}`)
  if (name === '--help' || name === '-h' || (name === 'help' && rest.length === 0))
    return print(io, overview())
  if (name === '') return refuse(io, overview())
  const wanted = name === 'help' ? (rest[0] ?? '') : name
  const entry = VERBS.find((candidate) => candidate.name === wanted)
  if (entry === undefined) return refuse(io, `weir: ${unknownVerb(wanted)}\nRun "weir --help" for the verbs.`)
  return runVerb(entry, name === 'help' ? [...rest.slice(1), '--help'] : rest, io)
}

async function runVerb(entry: VerbEntry, argv: readonly string[], io: Io): Promise<number> {
  try {
    const { verb } = await entry.load()
    if (asksForHelp(argv)) return print(io, helpOf(verb, argv[0] ?? ''))
    return await verb.run(argv, io)
  } catch (error) {
    if (isUsage(error)) {
      return refuse(
        io,
        `weir ${entry.name}: ${messageOf(error)}\nRun "weir ${entry.name} --help" for its flags.`,
      )
    }
    io.err(describe(error, io))
    return 1
  }
}

function helpOf({ help, helps = {} }: Verb, what: string): string {
  return (Object.hasOwn(helps, what) ? helps[what] : undefined) ?? help
}

/** `--help` anywhere before a bare `--`. */
function asksForHelp(argv: readonly string[]): boolean {
  const end = argv.indexOf('--')
  const flags = end < 0 ? argv : argv.slice(0, end)
  return flags.includes('--help') || flags.includes('-h')
}

function isUsage(error: unknown): error is Error {
  if (error instanceof UsageError) return true
  // What node:util's parseArgs throws for a wrong flag.
  return error instanceof Error && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS_')
}

/** One line for people; the stack only when asked for. Several lines only where the message is a list (config errors). */
function describe(error: unknown, io: Io): string {
  if (io.env['WEIR_DEBUG'] === '1' && error instanceof Error) return error.stack ?? error.message
  if (error instanceof Fault) return `weir: ${error.message} (${error.code})`
  return `weir: internal error: ${messageOf(error)} (set WEIR_DEBUG=1 for the stack)`
}

function unknownVerb(name: string): string {
  if (LATER.includes(name)) return `"${name}" is not built into this version yet`
  const names = VERBS.map((verb) => verb.name)
  return `there is no verb ${quoted(name)}${hint(name, names, 'verbs')}`
}

function overview(): string {
  const width = Math.max(...VERBS.map((verb) => verb.name.length)) + 2
  const lines = VERBS.map((verb) => `  ${verb.name.padEnd(width)}${verb.summary}`)
  return `weir ${VERSION}: a telemetry collector for AI agents

Usage: weir <verb> [flags]

${lines.join('\n')}

"weir <verb> --help" tells more. Exit codes: 0 ok, 1 failed, 2 wrong usage.`
}

function print(io: Io, text: string): number {
  io.out(text)
  return 0
}

function refuse(io: Io, text: string): number {
  io.err(text)
  return 2
}
