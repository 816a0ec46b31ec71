import { mkdir, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { parseArgs } from 'node:util'
import { machine, markdown } from '../bench/report.ts'
import { runScenario, scenarios, sustainedStore, type Figures } from '../bench/scenarios.ts'
import { UsageError, type Io, type Verb } from './verb.ts'

const help = `Usage: weir bench [SCENARIO …] [--seconds N] [--output FILE] [--json] [--list]

Starts a daemon of its own for each scenario (and a nats-server, from the PATH), puts it under load from a separate
process that replays pre-encoded distinct requests, and reports acked and stored spans/s, latencies, and CPU and
memory by process. Without a scenario: all of them.

  --seconds N     measured time per scenario (default 20; 60 for stored-*)
  --output FILE   also write the table, with the machine's description
  --list          the scenarios
`

export const verb: Verb = { name: 'bench', summary: 'load generator and benchmarks', help, run: bench }

const STORED = { 'stored-512-grpc-jetstream': 'jetstream', 'stored-512-grpc-embedded': 'embedded' } as const

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
    for (const name of Object.keys(STORED))
      io.out(`${name.padEnd(28)} the highest rate that is stored with a flat lag\n`)
    return 0
  }
  const names =
    positionals.length > 0 ? positionals : [...all.map((each) => each.name), ...Object.keys(STORED)]
  const unknown = names.filter((name) => !all.some((each) => each.name === name) && !(name in STORED))
  if (unknown.length > 0) throw new UsageError(`no scenario ${unknown.join(', ')}; --list names them`)
  const rows: Figures[] = []
  for (const name of names) {
    io.err(`${name} …\n`)
    const scenario = all.find((each) => each.name === name)
    const wal = STORED[name as keyof typeof STORED]
    const storedSeconds = values.seconds === undefined ? 60 : seconds
    rows.push(
      scenario
        ? await runScenario(scenario)
        : await sustainedStore(wal, storedSeconds, (text) => io.err(`${text}\n`)),
    )
  }
  const report = `${machine()}\n\n${markdown(rows)}`
  io.out(values.json === true ? `${JSON.stringify({ machine: machine(), rows }, undefined, 2)}\n` : report)
  if (values.output !== undefined) {
    await mkdir(dirname(values.output), { recursive: true })
    await writeFile(values.output, report)
  }
  return 0
}
