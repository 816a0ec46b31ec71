import { safeText } from '../../pipeline/telemetry/safe-text.ts'
import { clip, counted, table } from '../table.ts'
import type { Io } from '../verb.ts'

/** The answer of `/v1/diff`, as far as it is printed. */
export interface DiffAnswer {
  readonly a: Head
  readonly b: Head
  readonly actions: Readonly<Record<'a' | 'b' | 'same' | 'partial' | 'score', number>>
  readonly outcome: { readonly agree: boolean; readonly status: string; readonly output?: string }
  readonly spread: Readonly<
    Record<string, { readonly a: string | number; readonly b: string | number; readonly relative: number }>
  >
  readonly rows: readonly DiffRow[]
  readonly first_difference?: number
}

interface Head {
  readonly run_id: string
  readonly status: string
  readonly steps: number
  readonly truncated: boolean
}

interface DiffRow {
  readonly kind: string
  readonly name: string
  readonly a?: Place
  readonly b?: Place
  readonly input?: string
  readonly output?: string
  readonly status?: string
  readonly renamed?: string
  readonly input_differences?: readonly Difference[]
  readonly output_differences?: readonly Difference[]
}

interface Place {
  readonly index: number
  readonly seq?: number
  readonly status: string
}

interface Difference {
  readonly path: string
  readonly a?: string
  readonly b?: string
}

export function hasDifference({ first_difference, outcome }: DiffAnswer): boolean {
  return first_difference !== undefined || !outcome.agree
}

/** What agrees, then the steps that do not; equal ones in a row are counted only, unless `all`. */
export function diffReport(answer: DiffAnswer, all: boolean, io: Io): string {
  const lines: string[] = []
  let equal = 0
  const flush = (): void => {
    if (equal > 0) lines.push(`      … ${equal} ${equal === 1 ? 'step' : 'steps'} the same`)
    equal = 0
  }
  for (const row of answer.rows) {
    const sign = signOf(row)
    if (sign === '=' && !all) {
      equal++
      continue
    }
    flush()
    lines.push(painted(rowLine(row, sign), sign, io), ...differenceLines(row))
  }
  flush()
  return `${heading(answer)}\n${lines.map((text) => `${text}\n`).join('')}`
}

function heading({ a, b, actions, outcome, spread }: DiffAnswer): string {
  const heads = [a, b].map(({ run_id, status, steps, truncated }, index) => {
    return safeText(
      `${'ab'[index]}  ${run_id}  ${status}  ${counted(steps, 'step')}${truncated ? ' (cut: too long)' : ''}`,
    )
  })
  const found = `${actions.same} the same, ${actions.partial} with other arguments`
  const output = outcome.output === undefined ? 'no output' : `output ${shown(outcome.output)}`
  const figures = Object.entries(spread).map(([name, { a: left, b: right, relative }]) => [
    name.replaceAll('_', ' '),
    figure(left),
    figure(right),
    relative === 0 ? '' : `${Math.round(relative * 100)} %`,
  ])
  const columns = [{ title: '' }, ...['a', 'b', 'spread'].map((title) => ({ title, right: true }))]
  return [
    ...heads,
    '',
    `actions  ${(actions.score * 100).toFixed(1)} % agreement: of ${actions.a} and ${actions.b} tool calls ${found}`,
    `outcome  ${outcome.agree ? 'agrees' : 'differs'}: status ${shown(outcome.status)}, ${output}`,
    '',
    table(columns, figures),
  ].join('\n')
}

function figure(value: string | number): string {
  return typeof value === 'string' ? value : String(Math.round(value * 100) / 100)
}

function shown(verdict: string): string {
  return verdict === 'redacted' ? 'changed (redacted)' : verdict
}

type Sign = '=' | '~' | '-' | '+'

function signOf({ a, b, ...row }: DiffRow): Sign {
  if (b === undefined) return '-'
  if (a === undefined) return '+'
  const isSame = [row.input, row.output].every((verdict) => verdict === undefined || verdict === 'same')
  return isSame && row.status === undefined && row.renamed === undefined ? '=' : '~'
}

function rowLine(row: DiffRow, sign: Sign): string {
  const changes = (['input', 'output', 'status'] as const).flatMap((field) => {
    const verdict = row[field]
    return verdict === undefined || verdict === 'same' ? [] : [`${label(row, field)} ${shown(verdict)}`]
  })
  if (row.renamed !== undefined) changes.push('other model')
  const places = [row.a, row.b].map((place) =>
    (place === undefined ? '' : String(place.seq ?? place.index)).padStart(4),
  )
  const name = clip(safeText(row.name === '' ? row.kind : `${row.kind} ${row.name}`), 48)
  return `${sign} ${places.join(' ')}  ${name}${changes.length > 0 ? `  ${changes.join(', ')}` : ''}`
}

function label({ kind }: DiffRow, field: 'input' | 'output' | 'status'): string {
  if (field === 'status') return field
  if (kind === 'tool') return field === 'input' ? 'arguments' : 'result'
  return kind === 'llm' && field === 'input' ? 'request' : kind === 'llm' ? 'answer' : field
}

function differenceLines(row: DiffRow): readonly string[] {
  return (['input', 'output'] as const).flatMap((field) =>
    (row[`${field}_differences`] ?? []).map(({ path, a, b }) => {
      const change = `${clip(safeText(a ?? '(nothing)'), 60)} → ${clip(safeText(b ?? '(nothing)'), 60)}`
      return `               ${label(row, field)} ${clip(safeText(path), 48)}: ${change}`
    }),
  )
}

const COLOURS: Readonly<Partial<Record<Sign, number>>> = { '-': 31, '+': 32, '~': 33 }

function painted(text: string, sign: Sign, io: Io): string {
  const colour = io.tty && io.env['NO_COLOR'] === undefined ? COLOURS[sign] : undefined
  return colour === undefined ? text : `\u001b[${colour}m${text}\u001b[0m`
}
