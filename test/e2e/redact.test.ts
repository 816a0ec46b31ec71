import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { verb as consentVerb } from '../../cmd/consent.ts'
import { verb as jobVerb } from '../../cmd/job.ts'
import { verb as redactVerb } from '../../cmd/redact.ts'
import type { Verb } from '../../cmd/verb.ts'
import { startDaemon, type Daemon } from '../support/daemon.ts'
import { until } from '../support/until.ts'

/** Data that was stored under other rules, in the real daemon: rules change by a reload, one run is redacted, then all. */

const configOf = (mode: string): string => `
receivers:
  toon: {}
processors:
  sanitizer: { mode: ${mode} }
connectors:
  wal: { driver: embedded }
exporters:
  clickhouse: { endpoint: embedded, batch: { max_wait: 50ms } }
extensions:
  state: {}
  health: {}
  api: {}
jobs:
  redaction_sweep: { behind: 0s, window: 87600h, schedule: "0 0 1 1 *" }
  consent_expiry: { behind: 0s, schedule: "0 0 1 1 *" }
service:
  extensions: [state, health, api]
  jobs: [redaction_sweep, consent_expiry]
  pipelines:
    traces/in: { receivers: [toon], processors: [sanitizer], exporters: [wal] }
    traces/out: { receivers: [wal], exporters: [clickhouse] }
`

let daemon: Daemon
beforeAll(async () => {
  daemon = await startDaemon({ config: configOf('none') })
  await daemon.ready()
})
afterAll(() => daemon.stop(), 60_000)

async function post(url: string, body: unknown, headers: Record<string, string> = {}): Promise<number> {
  const answer = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  })
  await answer.arrayBuffer()
  return answer.status
}

async function record(id: string): Promise<void> {
  const runs = `${daemon.endpoints.toon}/v1/runs`
  expect(await post(runs, { run_id: id, agent_id: 'a' })).toBe(201)
  const t = new Date(Date.now() - 3_600_000).toISOString()
  const events = [
    {
      t,
      actor: 'agent',
      type: 'action_request',
      payload: { action: 'mail', params: { to: 'ada@example.org' } },
    },
    {
      t,
      actor: 'tool',
      type: 'action_response',
      payload: { status: 'success', result: 'sent to ada@example.org' },
    },
  ]
  expect(await post(`${runs}/${id}/events`, events, { 'idempotency-key': id })).toBe(202)
  expect(await post(`${runs}/${id}/finish`, { status: 'completed' })).toBe(200)
}

async function weir(verb: Verb, ...argv: readonly string[]): Promise<{ code: number; out: string }> {
  let out = ''
  const io = {
    out: (text: string) => void (out += text),
    err: (text: string) => void (out += text),
    env: {},
    tty: false,
  }
  return { code: await verb.run([...argv, '--endpoint', daemon.endpoints.api], io), out }
}

const rowsWith = async (id: string): Promise<string> => {
  const [row] = await daemon.query(
    `SELECT count(), countIf(toString(SpanAttributes) LIKE '%ada@example%'), sum(Redactions) FROM otel_traces WHERE RunId = '${id}'`,
  )
  return String(row)
}

test('what a consent allowed is redacted once it is over, and not before the rules allow it', async () => {
  await record('raw')
  await until(async () => (await rowsWith('raw')) === '3,2,0')
  const grant = ['grant', 'raw_trace_storage', '--run', 'raw', '--by', 'Ada', '--json']
  const granted = JSON.parse((await weir(consentVerb, ...grant)).out) as { consent: { id: string } }
  expect((await weir(jobVerb, 'run', 'consent_expiry')).code).toBe(0)
  expect((await weir(consentVerb, 'revoke', granted.consent.id, '--by', 'Ada')).code).toBe(0)
  const failed = await weir(jobVerb, 'run', 'consent_expiry')
  expect(failed.code).toBe(1)
  expect(failed.out).toContain('sanitizer leaves everything of tenant default as it is')
  expect(await rowsWith('raw')).toBe('3,2,0')
  await writeFile(join(daemon.directory, 'weir.yaml'), configOf('mask'))
  expect(await post(`${daemon.endpoints.api}/-/reload`, undefined)).toBe(200)
  const done = await weir(jobVerb, 'run', 'consent_expiry', '--json')
  expect(done.out).toContain('"counts":{"raw_trace_storage":1,"spans":3,"changed":2}')
  expect(await rowsWith('raw')).toBe('3,0,2')
  await writeFile(join(daemon.directory, 'weir.yaml'), configOf('none'))
  expect(await post(`${daemon.endpoints.api}/-/reload`, undefined)).toBe(200)
})

test('redact run, and the sweep, apply the rules of now to what is stored', async () => {
  await record('one')
  await record('two')
  await until(async () => (await rowsWith('one')) === '3,2,0' && (await rowsWith('two')) === '3,2,0')
  await writeFile(join(daemon.directory, 'weir.yaml'), configOf('mask'))
  expect(await post(`${daemon.endpoints.api}/-/reload`, undefined)).toBe(200)

  expect(await weir(redactVerb, 'run', 'one', '--dry-run')).toEqual({
    code: 0,
    out: '2 of 3 spans would change\n',
  })
  expect(await rowsWith('one')).toBe('3,2,0')
  expect(await weir(redactVerb, 'run', 'one')).toEqual({ code: 0, out: '2 of 3 spans changed\n' })
  expect(await rowsWith('one')).toBe('3,0,2')
  expect(await rowsWith('two')).toBe('3,2,0')
  expect(await weir(redactVerb, 'run', 'nobody')).toMatchObject({ code: 1 })

  const sweep = await weir(jobVerb, 'run', 'redaction_sweep', '--json')
  expect(sweep.code).toBe(0)
  expect(sweep.out).toContain('"counts":{"spans":9,"changed":2}')
  expect(await rowsWith('two')).toBe('3,0,2')
})
