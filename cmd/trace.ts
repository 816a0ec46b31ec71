import { parseArgs } from 'node:util'
import { safeJson, safeText } from '../pipeline/telemetry/safe-text.ts'
import { apiClient, CLIENT_FLAGS, CLIENT_HELP, type QueryAnswer } from './client.ts'
import { cellOf, clip, counted, displayWidth, pad } from './table.ts'
import { artifactLines, ARTIFACTS_SQL, artifactsOf } from './trace-artifacts.ts'
import { traceTree, type TraceSpan, type TreeLine } from './trace-tree.ts'
import { UsageError, type Io, type Verb } from './verb.ts'

export const verb: Verb = {
  name: 'trace',
  summary: 'Show one trace as a tree with latency, tokens and cost.',
  help: `Usage: weir trace ID [--json]

ID is a trace id (32 hex digits) or a run id. Each line is a span: name, duration, where it lies in the trace,
tokens in → out, cost, and what went wrong. Below it, what was moved out of it (weir artifact get REF), with a preview.

  --json             the spans as data
${CLIENT_HELP}

Examples:
  weir trace 4bf92f3577b34da6a3ce929d0e0e4736
  weir query "SELECT TraceId, sum(CostUsd) AS usd FROM llm_calls GROUP BY 1 ORDER BY usd DESC LIMIT 5"
`,
  run,
}

const SQL = `SELECT TenantId, TraceId, SpanId, ParentSpanId, SpanName, ServiceName,
  toString(toUnixTimestamp64Nano(Timestamp)) AS StartNs, toString(Duration) AS DurationNs,
  StatusCode, StatusMessage, Operation, ToolName, if(ResponseModel != '', ResponseModel, RequestModel) AS Model,
  toString(toUInt64(InputTokens) + CacheReadTokens + CacheWriteTokens + CacheWrite1hTokens + AudioInputTokens + ImageInputTokens) AS TokensIn,
  toString(toUInt64(OutputTokens) + ReasoningTokens + AudioOutputTokens + ImageOutputTokens) AS TokensOut,
  toString(CostUsd) AS Usd, CostStatus, ${ARTIFACTS_SQL} AS Artifacts
FROM otel_traces WHERE TraceId IN ({id:String}, {hex:String}) OR RunId = {id:String}
ORDER BY TenantId, TraceId, Timestamp, SpanId`

interface Row extends TraceSpan {
  readonly fields: Readonly<Record<string, string>>
}

async function run(argv: readonly string[], io: Io): Promise<number> {
  const options = { ...CLIENT_FLAGS, json: { type: 'boolean', default: false } } as const
  const { values, positionals } = parseArgs({ args: [...argv], options, allowPositionals: true })
  const [id, ...more] = positionals
  if (id === undefined || more.length > 0) throw new UsageError('give one trace id or run id')
  const hex = id.replaceAll('-', '').toLowerCase()
  const answer = await apiClient(io, values.endpoint).query({ sql: SQL, params: { id, hex } })
  const rows = rowsOf(answer)
  if (rows.length === 0) {
    io.err(`weir: there is no trace ${safeText(id)} (a span is stored a moment after it was acknowledged)\n`)
    return 1
  }
  if (values.json) io.out(`${safeJson(JSON.stringify({ spans: rows.map(({ fields }) => shown(fields)) }))}\n`)
  else for (const trace of tracesOf(rows)) io.out(show(trace, io))
  if (answer.truncated) io.err(`the trace was cut after ${counted(rows.length, 'span')}\n`)
  return 0
}

function rowsOf({ columns, rows }: QueryAnswer): readonly Row[] {
  return rows.map((row) => {
    const fields = Object.fromEntries(columns.map(({ name }, index) => [name, cellOf(row[index] ?? '')]))
    return {
      fields,
      id: fields['SpanId'] ?? '',
      parent: fields['ParentSpanId'] ?? '',
      startNs: BigInt(fields['StartNs'] ?? '0'),
      durationNs: BigInt(fields['DurationNs'] ?? '0'),
    }
  })
}

function shown({ Artifacts = '[]', ...fields }: Row['fields']) {
  return { ...fields, Artifacts: artifactsOf(Artifacts) }
}

/** Trace ids are unique per tenant only. */
function tracesOf(rows: readonly Row[]): readonly (readonly Row[])[] {
  const traces = new Map<string, Row[]>()
  for (const row of rows) {
    const key = JSON.stringify([row.fields['TenantId'], row.fields['TraceId']])
    const trace = traces.get(key)
    if (trace === undefined) traces.set(key, [row])
    else trace.push(row)
  }
  return [...traces.values()]
}

const NAME_WIDTH = 56
const BAR_WIDTH = 24

function show(rows: readonly Row[], io: Io): string {
  const lines = traceTree(rows)
  const names = lines.map((line) => clip(`${line.guide}${safeText(labelOf(line))}`, NAME_WIDTH))
  const width = Math.max(...names.map(displayWidth))
  const span = extent(rows)
  const body = lines.flatMap((line, index) => {
    const text = [
      pad(names[index] ?? '', width),
      pad(millis(line.span.durationNs), 9, true),
      bar(line.span, span),
      pad(tokens(line.span), 15, true),
      pad(cost(line.span), 11, true),
      trouble(line),
    ]
    const { Artifacts = '[]' } = line.span.fields
    return [paint(text.join('  ').trimEnd(), line, io), ...artifactLines(Artifacts, below(line))]
  })
  return [headline(rows, span), '', ...body, ''].map((text) => `${text}\n`).join('')
}

/** As deep as what hangs below the span. */
function below({ guide }: TreeLine<Row>): string {
  return `${guide.replace(/[├└]─ $/, '   ')}  `
}

interface Extent {
  readonly fromNs: bigint
  readonly lengthNs: bigint
}

function extent(rows: readonly Row[]): Extent {
  let from = rows[0]?.startNs ?? 0n
  let to = from
  for (const { startNs, durationNs } of rows) {
    if (startNs < from) from = startNs
    if (startNs + durationNs > to) to = startNs + durationNs
  }
  return { fromNs: from, lengthNs: to - from }
}

function headline(rows: readonly Row[], { fromNs, lengthNs }: Extent): string {
  const first = rows[0]?.fields ?? {}
  const errors = rows.filter(({ fields }) => fields['StatusCode'] === 'Error').length
  const unpriced = rows.filter(({ fields }) => fields['CostStatus'] === 'unpriced').length
  const parts = [
    `trace ${first['TraceId'] ?? ''}`,
    `tenant ${first['TenantId'] ?? ''}`,
    new Date(Number(fromNs / 1_000_000n)).toISOString(),
    millis(lengthNs),
    counted(rows.length, 'span'),
    `$${dollars(rows.reduce((sum, { fields }) => sum + picoDollars(fields['Usd'] ?? '0'), 0n))}`,
    ...(unpriced > 0 ? [`${unpriced} unpriced`] : []),
    ...(errors > 0 ? [counted(errors, 'error')] : []),
  ]
  return safeText(parts.join('  ·  '))
}

function labelOf({ span, note }: TreeLine<Row>): string {
  const { SpanName = '', Model = '' } = span.fields
  const model = Model !== '' && !SpanName.includes(Model) ? ` (${Model})` : ''
  return `${SpanName === '' ? '(no name)' : SpanName}${model}${note === undefined ? '' : ` ⟨${note}⟩`}`
}

function bar({ startNs, durationNs }: Row, { fromNs, lengthNs }: Extent): string {
  if (lengthNs === 0n) return pad('▏', BAR_WIDTH)
  const cells = (ns: bigint): number => Number((ns * BigInt(BAR_WIDTH)) / lengthNs)
  const start = Math.min(cells(startNs - fromNs), BAR_WIDTH - 1)
  const length = Math.min(Math.max(cells(durationNs), 0), BAR_WIDTH - start)
  return pad(`${' '.repeat(start)}${length === 0 ? '▏' : '█'.repeat(length)}`, BAR_WIDTH)
}

function tokens({ fields }: Row): string {
  const { TokensIn = '0', TokensOut = '0' } = fields
  return TokensIn === '0' && TokensOut === '0' ? '' : `${TokensIn} → ${TokensOut}`
}

function cost({ fields }: Row): string {
  if (fields['CostStatus'] === 'unpriced') return 'unpriced'
  const amount = picoDollars(fields['Usd'] ?? '0')
  return amount === 0n ? '' : `$${dollars(amount)}`
}

function trouble({ span }: TreeLine<Row>): string {
  if (span.fields['StatusCode'] !== 'Error') return ''
  const message = safeText(span.fields['StatusMessage'] ?? '')
  return clip(message === '' ? '✗ error' : `✗ ${message}`, 60)
}

function paint(text: string, { span }: TreeLine<Row>, io: Io): string {
  const coloured = io.tty && io.env['NO_COLOR'] === undefined
  return coloured && span.fields['StatusCode'] === 'Error' ? `\u001b[31m${text}\u001b[0m` : text
}

function millis(ns: bigint): string {
  const ms = Number(ns) / 1e6
  if (ms >= 60_000) return `${Math.floor(ms / 60_000)}m ${Math.round((ms % 60_000) / 1000)}s`
  if (ms >= 1000) return `${(ms / 1000).toFixed(2)} s`
  return `${ms >= 10 ? ms.toFixed(0) : ms.toFixed(2)} ms`
}

/** A decimal of up to 12 places as units of 1e-12. */
function picoDollars(text: string): bigint {
  const [, whole = '0', fraction = ''] = /^(\d+)(?:\.(\d{1,12})\d*)?$/.exec(text) ?? []
  return BigInt(whole) * 10n ** 12n + BigInt(fraction.padEnd(12, '0'))
}

function dollars(pico: bigint): string {
  const micro = (pico + 500_000n) / 1_000_000n
  return `${micro / 1_000_000n}.${(micro % 1_000_000n).toString().padStart(6, '0')}`
}
