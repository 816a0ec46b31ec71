import { spawnSync } from 'node:child_process'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ReplayReport } from '../../pipeline/run-replay/report.ts'
import { runCli } from '../../cmd/cli.ts'
import { startDaemon, type Daemon } from '../support/daemon.ts'

/** A run of 20 model calls and 20 tool calls, recorded through toon, and made again in every mode. */

const RUN = '3f2504e0-4f89-41d3-9a0c-0305e82c3301'
const TURNS = 20
const EMAIL = 'ada@example.org'

let daemon: Daemon
let model: Server
const asked: { readonly model: string; readonly body: string }[] = []

/** Answers like the recorded model, but for turn 3 (other words), 7 (another tool) and 9 (other arguments). */
function reply(prompt: string): Record<string, unknown> {
  const turn = Number(/turn (\d+)/.exec(prompt)?.[1] ?? -1)
  const call = (name: string, args: object) => ({
    role: 'assistant',
    content: thought(turn),
    tool_calls: [
      { id: `new_${turn}`, type: 'function', function: { name, arguments: JSON.stringify(args) } },
    ],
  })
  if (turn === 3) return { ...call('search', { q: 'item 3', limit: 5 }), content: 'Something else entirely.' }
  if (turn === 7) return call('delete_everything', {})
  if (turn === 9) return call('search', { q: 'item 90', limit: 5 })
  return call('search', { limit: 5, q: `item ${turn}` })
}

const thought = (turn: number): string => `I look for item ${turn} now.`

beforeAll(async () => {
  model = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const text = Buffer.concat(chunks).toString()
      if (request.url === '/tool') {
        const { arguments: args } = JSON.parse(text) as { arguments: { q: string } }
        response.end(JSON.stringify({ result: results(args.q, args.q === 'item 5' ? 'gone' : 'found') }))
        return
      }
      const body = JSON.parse(text) as { model: string; messages: { content: string }[] }
      asked.push({ model: body.model, body: `${request.headers.authorization} ${text}` })
      const message = reply(body.messages.at(-1)?.content ?? '')
      const usage = { prompt_tokens: 100, completion_tokens: 20 }
      response.end(JSON.stringify({ choices: [{ message, finish_reason: 'tool_calls' }], usage }))
    })
  })
  await new Promise<void>((resolve) => void model.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(model.address() as AddressInfo).port}`
  daemon = await startDaemon({ config: configOf(url), env: { REPLAY_KEY: 'a-key-that-nobody-may-see' } })
  await daemon.ready()
  await post('api', '/v1/tenants/default/consents', { type: 'llm_response_caching', granted_by: 'Ada' })
  await record()
})

afterAll(async () => {
  await daemon?.stop()
  model?.close()
})

const configOf = (url: string): string => `
receivers: { toon: {} }
processors: { replay_cache: {}, sanitizer: {}, cost: { overrides: [{ model: '*', input: 1, output: 2 }] } }
connectors: { wal: { driver: embedded } }
exporters: { clickhouse: { endpoint: embedded, batch: { max_wait: 20ms } } }
extensions:
  state: { master_key: "${'11'.repeat(32)}" }
  health: {}
  api:
    replay:
      llm: { local: { type: openai, endpoint: "${url}/v1", api_key: "\${env:REPLAY_KEY}" } }
      tools: { search: { endpoint: "${url}/tool" } }
      restore:
        environment:
          command:
            - node
            - -e
            - "let t='';process.stdin.on('data',(c)=>t+=c).on('end',()=>console.log(t))"
service:
  extensions: [state, health, api]
  pipelines:
    traces/in: { receivers: [toon], processors: [replay_cache, sanitizer], exporters: [wal] }
    traces/store: { receivers: [wal], processors: [cost], exporters: [clickhouse] }
`

async function post(where: 'api' | 'toon', path: string, body: unknown, key?: string): Promise<unknown> {
  const answer = await fetch(`${daemon.endpoints[where]}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(key !== undefined && { 'idempotency-key': key }) },
    body: JSON.stringify(body),
  })
  const text = await answer.text()
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${text}`)
  return JSON.parse(text)
}

const results = (q: string, state = 'found') => ({ hits: [{ title: q, state }], owner: EMAIL })

async function record(): Promise<void> {
  const start = { run_id: RUN, agent_id: 'finder', seed: 7, model: 'gpt-4o', temperature: 0 }
  await post('toon', '/v1/runs', {
    ...start,
    metadata: { environment_snapshot_id: 'env-1', db_snapshot_id: 'db-1' },
  })
  for (let turn = 0; turn < TURNS; turn++) {
    const t = (ms: number) => new Date(Date.UTC(2026, 7, 3, 12, 0, turn, ms)).toISOString()
    const messages = [{ role: 'user', content: `turn ${turn}: find item ${turn} for ${EMAIL}` }]
    const meta = { model: 'gpt-4o', provider: 'openai', usage: { input_tokens: 90, output_tokens: 10 } }
    const params = { q: `item ${turn}`, limit: 5 }
    await post(
      'toon',
      `/v1/runs/${RUN}/events`,
      [
        { t: t(0), actor: 'agent', type: 'reasoning', payload: { thought: thought(turn), messages }, meta },
        { t: t(10), actor: 'agent', type: 'action_request', payload: { action: 'search', params } },
        {
          t: t(20),
          actor: 'tool',
          type: 'action_response',
          payload: { status: 'success', result: results(params.q), latency_ms: 7 },
        },
      ],
      `turn-${turn}`,
    )
  }
  await post('toon', `/v1/runs/${RUN}/finish`, { status: 'completed' })
}

async function weir(...argv: string[]): Promise<{ code: number; out: string; err: string }> {
  let [out, err] = ['', '']
  const io = { out: (text: string) => void (out += text), err: (text: string) => void (err += text) }
  const env = { WEIR_ENDPOINT: daemon.endpoints.api }
  const code = await runCli(['replay', 'run', RUN, ...argv], { ...io, env, tty: false })
  return { code, out, err }
}

async function replay(...argv: string[]): Promise<ReplayReport> {
  const { out, err } = await weir(...argv, '--json')
  if (out === '') throw new Error(err)
  return JSON.parse(out) as ReplayReport
}

/** Once the whole run is stored, and kept. */
async function settled(): Promise<ReplayReport> {
  const endMs = performance.now() + 90_000
  for (;;) {
    const report = await replay().catch(() => undefined)
    if (report?.counts.calls === 2 * TURNS && report.counts.missed === 0) return report
    if (performance.now() > endMs) throw new Error(JSON.stringify(report?.counts ?? 'no report'))
    await new Promise((resolve) => void setTimeout(resolve, 50))
  }
}

describe('weir replay run', () => {
  it('answers every call from the cache: score 1, twice the same bytes', async () => {
    const report = await settled()
    expect(report).toMatchObject({
      score: 1,
      counts: { calls: 40, exact: 40, minor: 0, major: 0, missed: 0, unrecorded: 0, unused: 0 },
      first_divergence: null,
      snapshot: {
        seed: 7,
        models: ['gpt-4o'],
        sampling: { temperature: '0' },
        environment_snapshot_id: 'env-1',
        db_snapshot_id: 'db-1',
        llm_responses_cached: true,
        tool_responses_cached: true,
      },
      cost: { recorded: '0.0022', replayed: '0' },
    })
    expect((await weir('--json')).out).toBe((await weir('--json')).out)
    expect((await weir()).out).toContain('score 1.0000 over 40 calls')
  })

  it('asks the model again, and finds where its answers differ', async () => {
    const report = await replay('--mode', 'hybrid', '--llm', 'local', '--model', 'gpt-5')
    expect(report.llm).toEqual({ endpoint: 'local', model: 'gpt-5' })
    expect(asked).toHaveLength(TURNS)
    expect(asked.every(({ model, body }) => model === 'gpt-5' && body.includes('"seed":7'))).toBe(true)
    expect(asked.every(({ body }) => body.startsWith('Bearer a-key') && !body.includes(EMAIL))).toBe(true)
    expect(report.masked_requests).toBe(TURNS)
    expect(report.notes.join()).toContain('sent so')
    expect(report.counts).toMatchObject({ calls: 40, exact: 37, minor: 1, major: 2, missed: 0 })
    expect(report.score).toBe(0.9375)
    const differ = report.steps.filter(({ agreement }) => agreement !== 'exact')
    expect(differ.map(({ agreement, field }) => [agreement, field])).toEqual([
      ['minor', 'text'],
      ['major', 'tool_calls[0].name'],
      ['major', 'tool_calls[0].args.q'],
    ])
    expect(report.first_divergence).toMatchObject({
      agreement: 'minor',
      kind: 'llm',
      replayed: 'Something else entirely.',
      cause: expect.stringContaining('gpt-5 instead of gpt-4o'),
    })
    expect(differ[1]?.nearest).toMatchObject({
      agreement: 'missed',
      field: 'tool',
      asked: 'delete_everything',
    })
    expect(differ[2]?.nearest).toMatchObject({ agreement: 'minor', field: 'args.q', asked: 'item 90' })
    expect(report.tokens).toEqual({ recorded: 2000, replayed: 2400 })
  })

  it('calls models and tools again, restores what it can, and says what it could not', async () => {
    const file = join(daemon.directory, 'report.html')
    const { code, out } = await weir(
      '--mode',
      'verification',
      '--html',
      file,
      '--min-score',
      '0.99',
      '--json',
    )
    const report = JSON.parse(out) as ReplayReport
    expect(code).toBe(1)
    expect(report.restored).toEqual([
      { what: 'environment', reference: 'env-1', done: true },
      { what: 'database', reference: 'db-1', done: false },
    ])
    const tools = report.steps.filter(({ kind }) => kind === 'tool')
    expect(tools.every(({ from }) => from === 'hook')).toBe(true)
    // The recorded owner was redacted, the live one is not.
    expect(tools.every(({ agreement }) => agreement !== 'missed')).toBe(true)
    expect(report.recommendations.join('\n')).toContain('replay.restore.database')
    const page = await readFile(file, 'utf8')
    expect(page).toContain('<h1>Replay of 3f2504e0')
    expect(page).not.toMatch(/<script|https?:/)
  })

  it('answers live calls as the recorded ones were, though what is stored is redacted', async () => {
    const path = `/v1/runs/${RUN}/answers`
    const ask = { kind: 'llm', provider: 'openai', model: 'gpt-4o' }
    const live = (who: string) => ({
      ...ask,
      messages: [{ role: 'user', id: 'x', content: `turn 4: find item 4 for ${who}` }],
    })
    expect(await post('api', path, live(EMAIL))).toMatchObject({
      agreement: 'exact',
      answer: { value: { thought: thought(4) } },
    })
    expect(await post('api', path, { ...live(EMAIL), occurrence: 1 })).toMatchObject({ answer: null })
    const redacted = await post('api', path, live('[REDACTED_EMAIL]'))
    expect(redacted).toMatchObject({ agreement: 'minor', answer: null, nearest: { step: 9 } })
    const tool = { kind: 'tool', tool: 'search', args: { limit: 5, q: 'item 4' } }
    expect(await post('api', path, tool)).toMatchObject({
      agreement: 'exact',
      answer: { value: { owner: '[REDACTED_EMAIL]' } },
    })
    const near = { ...tool, args: { limit: 6, q: 'item 4' } }
    expect(await post('api', path, near)).toMatchObject({
      agreement: 'minor',
      answer: null,
      nearest: { field: 'args.limit' },
    })
    expect(await post('api', path, { ...near, accept: 'minor' })).toMatchObject({ answer: { status: 'ok' } })
  })

  // Takes a restart: the store belongs to the daemon.
  it.runIf(process.env['WEIR_REPLAY_RESTART'] === '1')('finds one changed answer at its step', async () => {
    await daemon.kill('SIGTERM')
    alter(
      daemon,
      `ALTER TABLE weir.otel_traces UPDATE SpanAttributes = mapUpdate(SpanAttributes, map('toon.payload',
        replaceOne(SpanAttributes['toon.payload'], 'look for item 11', 'look for item 12')))
        WHERE SpanAttributes['toon.seq'] = '34' SETTINGS mutations_sync = 2`,
    )
    await daemon.restart('SIGTERM')
    await daemon.ready()
    await daemon.query('SELECT 1')
    const report = await replay()
    expect(report.counts).toMatchObject({ calls: 40, exact: 39 })
    expect(report.first_divergence).toMatchObject({
      seq: 34,
      kind: 'llm',
      field: 'value.thought',
      recorded: thought(12),
      replayed: thought(11),
    })
  })

  it('has nothing to say once the consent is revoked', async () => {
    const consents = await fetch(`${daemon.endpoints.api}/v1/tenants/default/consents`)
    const [consent] = ((await consents.json()) as { consents: { id: string }[] }).consents
    await post('api', `/v1/tenants/default/consents/${consent?.id}/revoke`, { revoked_by: 'Ada' })
    const none = await replay()
    expect(none.counts).toMatchObject({ calls: 40, exact: 0, missed: 40 })
    expect(daemon.log()).not.toContain('a-key-that-nobody-may-see')
  })
})

/** While no daemon has the directory open. */
function alter(of: Daemon, sql: string): void {
  const code = `import { createClient } from '@clickhouse/client'
import { createChdbConnection } from 'chdb/connection'
const client = createClient({ connection: createChdbConnection({ path: ${JSON.stringify(join(of.directory, 'clickhouse'))} }) })
await client.command({ query: ${JSON.stringify(sql)} })
await client.close()
process.exit(0)`
  const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', code], {
    encoding: 'utf8',
  })
  if (status !== 0) throw new Error(stderr)
}
