import { cpus, release, totalmem } from 'node:os'
import type { Figures } from './scenarios.ts'

/** Where the figures were measured; without it they say nothing. */
export function machine(): string {
  const [cpu] = cpus()
  const memory = Math.round(totalmem() / 2 ** 30)
  return `${cpus().length} × ${cpu?.model.trim() ?? 'unknown CPU'}, ${memory} GiB, ${process.platform} ${release()}, Node ${process.version}`
}

const COLUMNS = [
  'scenario',
  'acked/s',
  'stored/s',
  'ack p50 ms',
  'ack p99 ms',
  'stored p50 ms',
  'CPU-s/M',
  'RSS MiB',
  'refused',
]

export function markdown(rows: readonly Figures[]): string {
  const lines = [COLUMNS, COLUMNS.map(() => '---'), ...rows.map(cells)].map((row) => `| ${row.join(' | ')} |`)
  const notes = rows.filter((row) => row.note !== undefined).map((row) => `- ${row.scenario}: ${row.note}`)
  return `${[...lines, '', ...notes].join('\n').trimEnd()}\n`
}

function cells(row: Figures): string[] {
  return [
    row.scenario,
    whole(row.ackedPerSecond),
    row.storedPerSecond === undefined ? '–' : whole(row.storedPerSecond),
    row.ackP50Ms.toFixed(1),
    row.ackP99Ms.toFixed(1),
    row.storedP50Ms === undefined ? '–' : row.storedP50Ms.toFixed(0),
    Object.entries(row.cpuSecondsPerMillion)
      .map(([process, value]) => `${process} ${value.toFixed(2)}`)
      .join(', '),
    Object.entries(row.rssMiB)
      .map(([process, value]) => `${process} ${value.toFixed(0)}`)
      .join(', '),
    String(row.refused + row.failed),
  ]
}

function whole(value: number): string {
  return Math.round(value).toLocaleString('en-US')
}
