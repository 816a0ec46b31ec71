import { mkdir, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { parseArgs } from 'node:util'
import { drain, overload, type Wal } from '../bench/overload.ts'
import { machine, markdown } from '../bench/report.ts'
import { runScenario, scenarios, sustainedStore, type Figures } from '../bench/scenarios.ts'
import { UsageError, type Io, type Verb } from './verb.ts'

const help = `Usage: weir bench [SCENARIO …] [--seconds N] [--output FILE] [--json] [--list]

Starts a daemon of its own for each scenario (and a nats-server, from the PATH), puts it under load from a separate
process that replays pre-encoded distinct requests, and reports acked and stored spans/s, latencies, and CPU and
memory by process. Without a scenario: all of them.

  --seconds N     measured time per scenario (default 20; 60 for stored-* and overload-*)
  --output FILE   also write the table, with the machine's description
  --list          the scenarios
`

export const verb: Verb = { name: 'bench', summary: 'load generator and benchmarks', help, run: bench }

/** Scenarios of several runs: how long one of them is when nobody says. */
const SERIES: Readonly<Record<string, Series>> = Object.fromEntries(
  (['jetstream', 'embedded'] as const).flatMap((wal): [string, Series][] => [
    [
      `stored-512-grpc-${wal}`,
      series('the highest rate that is stored with a flat lag', 60, wal, sustainedStore),
    ],
    [`overload-${wal}`, series('twice the peak offered: goodput, refusals, memory', 60, wal, overload)],
    [`drain-${wal}`, series('a backlog drains while 10,000 spans/s go on coming', 20, wal, drain)],
  ]),
)

interface Series {
  readonly summary: string
  readonly seconds: number
  run(seconds: number, say: (text: string) => void): Promise<Figures>
}

function series(summary: string, seconds: number, wal: Wal, run: typeof overload): Series {
  return { summary, seconds, run: (each, say) => run(wal, each, say) }
}

async function bench(argv: readonly string[], io: Io): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      seconds: { type: 'string' },
      output: { type: 'string' },
      json: { type: 'boolean' },
      list: { type: 'boolean' },
    },
  })
  const seconds = Number(values.seconds ?? 20)
  if (!(seconds >= 3)) throw new UsageError('--seconds must be a number of at least 3')
  const all = scenarios(seconds)
  if (values.list === true) {
    for (const each of all) io.out(`${each.name.padEnd(28)} ${each.summary}\n`)
    for (const [name, { summary }] of Object.entries(SERIES)) io.out(`${name.padEnd(28)} ${summary}\n`)
    return 0
  }
  const names =
    positionals.length > 0 ? positionals : [...all.map((each) => each.name), ...Object.keys(SERIES)]
  const unknown = names.filter((name) => !all.some((each) => each.name === name) && !(name in SERIES))
  if (unknown.length > 0) throw new UsageError(`no scenario ${unknown.join(', ')}; --list names them`)
  const rows: Figures[] = []
  for (const name of names) {
    io.err(`${name} …\n`)
    const scenario = all.find((each) => each.name === name)
    const each = SERIES[name]
    const own = values.seconds === undefined ? each?.seconds : seconds
    if (scenario !== undefined) rows.push(await runScenario(scenario))
    else if (each !== undefined) rows.push(await each.run(own ?? seconds, (text) => io.err(`${text}\n`)))
  }
  const report = `${machine()}\n\n${markdown(rows)}`
  io.out(values.json === true ? `${JSON.stringify({ machine: machine(), rows }, undefined, 2)}\n` : report)
  if (values.output !== undefined) {
    await mkdir(dirname(values.output), { recursive: true })
    await writeFile(values.output, report)
  }
  return 0
}
