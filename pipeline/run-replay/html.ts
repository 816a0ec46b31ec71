import type { Divergence, ReplayedStep, ReplayReport } from './report.ts'

/** The report as one page that needs nothing else: no script, nothing from the network, every value escaped. */
export function replayPage(report: ReplayReport): string {
  const { run_id: id, mode, score, counts, cost, latency_ms: latency, tokens, agent, tenant } = report
  const facts: readonly (readonly [string, string])[] = [
    ['run', id],
    ['agent', agent],
    ['tenant', tenant],
    ['mode', report.llm === null ? mode : `${mode}, through ${report.llm.endpoint}`],
    ['calls', String(counts.calls)],
    [
      'exact · minor · major · missed',
      `${counts.exact} · ${counts.minor} · ${counts.major} · ${counts.missed}`,
    ],
    ['without a recorded answer', String(counts.unrecorded)],
    ['of these, moved to artifacts', String(counts.moved)],
    ['kept answers that nobody asked for', String(counts.unused)],
    ['cost, USD', both(cost.recorded, cost.replayed)],
    ['latency of the calls, ms', both(latency.recorded, latency.replayed)],
    ['tokens', both(tokens.recorded, tokens.replayed)],
    ['sent redacted', String(report.masked_requests)],
  ]
  return page(
    `Replay of ${id}`,
    `<h1>Replay of ${text(id)}</h1>
<p class="score">${score.toFixed(4)}</p><p>reproducibility, 0 to 1</p>
${table(facts)}
${divergence(report.first_divergence)}
${list('Recommendations', report.recommendations)}
${list('Notes', report.notes)}
<h2>Snapshot</h2>
${table(snapshotRows(report))}
<h2>Calls</h2>
<table><thead><tr>${COLUMNS.map((each) => `<th>${text(each)}</th>`).join('')}</tr></thead>
<tbody>${report.steps.map(stepRow).join('\n')}</tbody></table>`,
  )
}

const COLUMNS = [
  'step',
  'kind',
  'name',
  'agreement',
  'from',
  'field',
  'recorded',
  'replayed',
  'cause',
  'ms',
  'USD',
]

function stepRow(step: ReplayedStep): string {
  const cells = [
    String(step.seq ?? step.step),
    step.kind,
    step.name,
    step.agreement ?? 'not compared',
    step.from ?? '',
    step.field ?? '',
    step.recorded ?? '',
    step.replayed ?? '',
    [step.cause, nearestText(step)].filter((each) => each !== null).join('. '),
    both(step.latency_ms.recorded, step.latency_ms.replayed),
    both(step.cost_usd.recorded, step.cost_usd.replayed),
  ]
  return `<tr class="${text(step.agreement ?? 'none')}">${cells.map((cell) => `<td>${text(cell)}</td>`).join('')}</tr>`
}

function nearestText({ nearest }: ReplayedStep): string | null {
  if (nearest === null || nearest.step === null) return null
  const where = nearest.field === null ? '' : `, which differs in ${nearest.field}`
  return `Nearest: step ${nearest.step} (${nearest.agreement})${where}`
}

function divergence(first: Divergence | null): string {
  if (first === null) return ''
  const rows = [
    ['step', `${first.seq ?? first.step}: ${first.kind} ${first.name}`],
    ['agreement', first.agreement],
    ['field', first.field ?? ''],
    ['recorded', first.recorded ?? ''],
    ['replayed', first.replayed ?? ''],
    ['cause', first.cause],
  ] as const
  return `<h2>First divergence</h2>\n${table(rows)}`
}

function snapshotRows({ snapshot, restored }: ReplayReport): readonly (readonly [string, string])[] {
  const done = restored.map(
    ({ what, reference, done }) => `${what} ${reference}: ${done ? 'restored' : 'not restored'}`,
  )
  const sampling = Object.entries(snapshot.sampling).map(([key, value]) => `${key}=${value}`)
  return [
    ['seed', String(snapshot.seed ?? '')],
    ['models', snapshot.models.join(', ')],
    ['sampling', sampling.join(', ')],
    ['environment snapshot', snapshot.environment_snapshot_id ?? ''],
    ['database snapshot', snapshot.db_snapshot_id ?? snapshot.db_snapshot_url ?? ''],
    ['cached', `models ${yes(snapshot.llm_responses_cached)}, tools ${yes(snapshot.tool_responses_cached)}`],
    ['restored', done.join('; ')],
  ]
}

function yes(is: boolean): string {
  return is ? 'yes' : 'no'
}

function both(recorded: string | number | null, replayed: string | number | null): string {
  return `${recorded ?? 'unknown'} → ${replayed ?? 'unknown'}`
}

function table(rows: readonly (readonly [string, string])[]): string {
  const lines = rows
    .filter(([, value]) => value !== '')
    .map(([name, value]) => `<tr><th>${text(name)}</th><td>${text(value)}</td></tr>`)
  return `<table>${lines.join('\n')}</table>`
}

function list(title: string, items: readonly string[]): string {
  if (items.length === 0) return ''
  return `<h2>${text(title)}</h2><ul>${items.map((each) => `<li>${text(each)}</li>`).join('')}</ul>`
}

const STYLE = `body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:90rem;padding:0 1rem;color:#1a1a1a;background:#fff}
table{border-collapse:collapse;margin:.5rem 0}th,td{border:1px solid #ccc;padding:.25rem .6rem;text-align:left;vertical-align:top;max-width:28rem;overflow-wrap:anywhere;white-space:pre-wrap}
thead th{position:sticky;top:0;background:#eee}.score{font-size:3rem;margin:0}.minor td{background:#fff8dd}.major td,.missed td{background:#fde8e6}
@media(prefers-color-scheme:dark){body{background:#161616;color:#e6e6e6}th,td{border-color:#444}thead th{background:#2a2a2a}.minor td{background:#3a3414}.major td,.missed td{background:#451d19}}`

function page(title: string, body: string): string {
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${text(title)}</title><style>${STYLE}</style></head><body>
${body}
</body></html>
`
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

/** As text of an element or of a quoted attribute; characters that reorder or hide others are written out. */
function text(value: string): string {
  return value
    .replace(/[&<>"']/g, (char) => ENTITIES[char] ?? '')
    .replace(
      /(?![\n\t])[\p{Cc}\p{Bidi_Control}]/gu,
      (char) => `\\u${(char.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`,
    )
}
