import { safeText } from '../../pipeline/telemetry/safe-text.ts'
import { clip, table } from '../table.ts'

/** The answer of `GET /v1/runs/{run}`, as far as it is printed. */
export interface RunAnswer {
  readonly run: Run
}

interface Run {
  readonly tenant: string
  readonly run_id: string
  readonly trace_id: string
  readonly agent: string
  readonly status: string
  readonly duration_ms: number
  readonly cost_usd: string
  readonly truncated: boolean
  readonly output?: { readonly value: unknown }
  readonly steps: readonly {
    readonly kind: string
    readonly name: string
    readonly seq?: number
    readonly input?: unknown
    readonly output?: unknown
    readonly status: string
    readonly error?: string
    readonly duration_ms: number
    readonly tokens_in: number
    readonly tokens_out: number
    readonly cost_usd: string
  }[]
}

const COLUMNS = [
  { title: '#', right: true },
  { title: 'step' },
  { title: 'ms', right: true },
  { title: 'tokens', right: true },
  { title: 'usd', right: true },
  { title: 'in' },
  { title: 'out' },
]

export function showRun(run: Run): string {
  const head = [
    run.run_id,
    `tenant ${run.tenant}`,
    run.agent,
    run.status,
    `${Math.round(run.duration_ms)} ms`,
  ]
  const rows = run.steps.map((step, index) => [
    String(step.seq ?? index),
    clip(`${step.status === 'error' ? '✗ ' : ''}${step.kind} ${step.name}`.trimEnd(), 40),
    String(Math.round(step.duration_ms)),
    step.tokens_in + step.tokens_out === 0 ? '' : `${step.tokens_in} → ${step.tokens_out}`,
    step.cost_usd === '0' ? '' : step.cost_usd,
    brief(lastSaid(step.input)),
    brief(step.output ?? step.error),
  ])
  const output = run.output === undefined ? '' : `output: ${clip(safeText(textOf(run.output.value)), 200)}\n`
  const cut = run.truncated ? 'the run is longer: what comes later is not shown\n' : ''
  return `${safeText(head.filter((part) => part !== '').join('  ·  '))}  ·  $${run.cost_usd}\n\n${table(COLUMNS, rows)}${output}${cut}`
}

/** Of a request its last message: what came before was said before. */
function lastSaid(input: unknown): unknown {
  const messages = (input as { readonly messages?: unknown } | undefined)?.messages
  return Array.isArray(messages) ? messages.at(-1) : (messages ?? input)
}

function brief(value: unknown): string {
  return value === undefined ? '' : clip(safeText(textOf(value)), 44)
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value)
}
