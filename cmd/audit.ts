import { once } from 'node:events'
import { createReadStream, readFileSync } from 'node:fs'
import { open, rm } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { verifyTranscript, type Page } from '../pipeline/audit/transcript.ts'
import type { Verdict } from '../pipeline/audit/verify.ts'
import { messageOf, reject } from '../pipeline/fault.ts'
import { safeJson, safeText } from '../pipeline/telemetry/safe-text.ts'
import { unwritable } from './file.ts'
import { PORT_FLAGS, PORT_HELP, withPort, type Ask } from './identity/port.ts'
import { printRows, type Row } from './identity/print.ts'
import { past } from './identity/when.ts'
import { UsageError, type Io, type Verb } from './verb.ts'

export const verb: Verb = {
  name: 'audit',
  summary: 'Who did, read or was refused what: query, verify, export, checkpoint.',
  help: `Usage: weir audit query [filters] [--limit 100]
       weir audit verify [--key FINGERPRINT]… [--checkpoint FILE]… [--copy | --file FILE]
       weir audit export --out FILE
       weir audit checkpoint

  query        entries, the newest first
  verify       follows the whole chain; names the first entry that is not as it was, and how. Exit code 1 then
  export       a copy with the newest checkpoint, which \`verify --file\` checks without a daemon
  checkpoint   the newest signed checkpoint (a C2SP note). Kept where nobody here can change it, it proves later that
               nothing before it was changed or cut off: verify --checkpoint FILE

  --actor ID         a key's id, token/1, an account, a job
  --action A         key.create, or key for all that begin so
  --tenant T         whose data; an admin of one tenant has that one's only
  --outcome O        ok, begun, failed or denied
  --object TEXT      exactly this
  --since T --until T  30m, 24h, 7d ago, or an instant (2026-08-01T12:00:00Z)
  --copy             also compares the copy in ClickHouse, every line and field
  --key FINGERPRINT  of who may have signed, as verify printed it when it could be trusted
${PORT_HELP}

Examples:
  weir audit query --action key --since 7d
  weir audit checkpoint > /mnt/elsewhere/audit-2026-08-01.note
  weir audit verify --checkpoint /mnt/elsewhere/audit-2026-08-01.note
`,
  run,
}

const FLAGS = {
  ...PORT_FLAGS,
  actor: { type: 'string' },
  action: { type: 'string' },
  tenant: { type: 'string' },
  outcome: { type: 'string' },
  object: { type: 'string' },
  since: { type: 'string' },
  until: { type: 'string' },
  limit: { type: 'string' },
  key: { type: 'string', multiple: true },
  checkpoint: { type: 'string', multiple: true },
  copy: { type: 'boolean', default: false },
  file: { type: 'string' },
  out: { type: 'string' },
} as const

type Values = ReturnType<typeof parse>['values']

interface Order {
  readonly ask: Ask
  readonly values: Values
  readonly io: Io
}

function parse(argv: readonly string[]) {
  return parseArgs({ args: [...argv], options: FLAGS, allowPositionals: true })
}

const COLUMNS = ['seq', 'time', 'actor', 'action', 'object', 'tenant', 'outcome', 'address', 'details']

async function run(argv: readonly string[], io: Io): Promise<number> {
  const { values, positionals } = parse(argv)
  const [action = '', ...more] = positionals
  if (more.length > 0) throw new UsageError(`"${more[0]}" is too much`)
  if (action === 'verify' && values.file !== undefined) return verifyFile(values.file, values, io)
  const act = ACTIONS[action]
  if (act === undefined) throw new UsageError(`say what to do: ${Object.keys(ACTIONS).join(', ')}`)
  let code = 0
  const failed = await withPort('audit', values, io, async (ask) => {
    code = await act({ ask, values, io })
  })
  return Math.max(failed, code)
}

const ACTIONS: Readonly<Record<string, (order: Order) => Promise<number>>> = {
  query,
  verify,
  export: exportLog,
  async checkpoint({ ask, values, io }) {
    const page = (await ask('GET', `/v1/audit/lines?after=${Number.MAX_SAFE_INTEGER}`)) as unknown as Page
    if (page.checkpoint === undefined || page.checkpoint === '') {
      throw reject(
        'NOT_FOUND',
        'there is no checkpoint: the log is empty, or nobody signs it (master_key, audit.key_file)',
      )
    }
    const { checkpoint } = page
    io.out(values.json ? `${JSON.stringify({ checkpoint })}\n` : checkpoint)
    return 0
  },
}

async function query({ ask, values, io }: Order): Promise<number> {
  const limit = limitOf(values.limit)
  const { actor, action, tenant, outcome, object } = values
  const wanted = {
    actor,
    action,
    tenant,
    outcome,
    object,
    since: past('--since', values.since),
    until: past('--until', values.until),
  }
  const entries: Row[] = []
  for (let before: number | null | undefined; before !== null && entries.length < limit;) {
    const pairs = Object.entries({
      ...wanted,
      before: before?.toString(),
      limit: String(Math.min(1000, limit - entries.length)),
    })
    const search = new URLSearchParams(
      pairs.filter((pair): pair is [string, string] => pair[1] !== undefined),
    )
    const answer = (await ask('GET', `/v1/audit?${search.toString()}`)) as {
      entries: Row[]
      next: number | null
    }
    entries.push(...answer.entries)
    before = answer.next
  }
  printRows(values.json ? entries : entries.map(rowOf), COLUMNS, { name: 'entries', json: values.json }, io)
  return 0
}

function rowOf(entry: Row): Row {
  const { id, kind } = entry['actor'] as { id: string; kind: string }
  const details = entry['details'] === undefined ? '' : JSON.stringify(entry['details'])
  return { ...entry, actor: kind === 'key' ? id : `${kind} ${id}`, details }
}

async function verify({ ask, values, io }: Order): Promise<number> {
  const verdict = (await ask('POST', '/v1/audit/verify', {
    checkpoints: anchorsOf(values),
    copy: values.copy,
    ...(values.key && { keys: values.key }),
  })) as unknown as Verdict
  return print(verdict, values, io)
}

async function verifyFile(file: string, values: Values, io: Io): Promise<number> {
  const input = createReadStream(file)
  try {
    await once(input, 'open').catch((error: unknown) => {
      throw reject('NOT_FOUND', `--file ${file}: ${messageOf(error)}`)
    })
    const lines = createInterface({ input, crlfDelay: 0 })
    const trusted = values.key
    return print(
      await verifyTranscript(lines, { anchors: anchorsOf(values), ...(trusted && { trusted }) }),
      values,
      io,
    )
  } finally {
    input.destroy()
  }
}

function print(verdict: Verdict, { json }: Values, io: Io): number {
  if (json) io.out(`${safeJson(JSON.stringify(verdict))}\n`)
  else {
    const { ok, first, last, keys, notes, finding } = verdict
    io.out(
      ok
        ? `whole: entries ${first} to ${last}\n`
        : `NOT whole, at entry ${finding?.seq ?? 0}: ${finding?.kind ?? ''}: ${safeText(finding?.message ?? '')}\n`,
    )
    if (keys.length > 0) io.out(`signed by ${keys.join(', ')}\n`)
    for (const note of notes) io.out(`note: ${safeText(note)}\n`)
  }
  return verdict.ok ? 0 : 1
}

async function exportLog({ ask, values, io }: Order): Promise<number> {
  if (values.out === undefined) throw new UsageError('export needs --out FILE')
  const file = await open(values.out, 'wx', 0o600).catch((error: unknown) => {
    throw unwritable('--out', values.out ?? '', error)
  })
  try {
    let after: number | undefined
    for (;;) {
      const from = after === undefined ? '' : `?after=${after}`
      const { opening, lines, last, checkpoint } = (await ask(
        'GET',
        `/v1/audit/lines${from}`,
      )) as unknown as Page
      const texts = [...(opening ? [JSON.stringify(opening)] : []), ...lines]
      if (texts.length > 0) await file.write(`${texts.join('\n')}\n`)
      if (checkpoint !== undefined) {
        await file.write(`${JSON.stringify({ checkpoint })}\n`)
        await file.sync()
        io.out(`entries up to ${last} are in ${values.out}\n`)
        return 0
      }
      after = last
    }
  } catch (error) {
    // Half of a log is none, and would be in the way of the next try.
    await rm(values.out, { force: true })
    throw error
  } finally {
    await file.close()
  }
}

function anchorsOf({ checkpoint }: Values): string[] {
  return (checkpoint ?? []).map((file) => {
    try {
      return readFileSync(file, 'utf8')
    } catch (error) {
      throw reject('NOT_FOUND', `--checkpoint ${file}: ${messageOf(error)}`)
    }
  })
}

function limitOf(text: string | undefined): number {
  const limit = Number(text ?? 100)
  if (Number.isSafeInteger(limit) && limit > 0) return limit
  throw new UsageError(`--limit ${text} is not a number of entries`)
}
