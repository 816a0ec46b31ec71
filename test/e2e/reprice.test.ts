import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, expect, it } from 'vitest'
import { standardRequest } from '../../bench/shape.ts'
import { scaled, USD_DIGITS } from '../../pipeline/genai/decimal.ts'
import { dist, startDaemon, type Daemon } from '../support/daemon.ts'
import { until } from '../support/until.ts'

/** `weir reprice` against a daemon whose store process is killed in the middle of it. */

const SPANS = 512
const REQUESTS = 24
let daemon: Daemon | undefined
afterEach(() => daemon?.stop())

/** Every model at so many USD per million tokens. */
const configOf = (usd: number): string => `
receivers:
  otlp: { protocols: { http: {} } }
processors:
  cost: { overrides: [{ model: '*', input: ${usd}, output: ${usd} }] }
connectors:
  wal: { driver: embedded }
exporters:
  clickhouse: { endpoint: embedded, batch: { max_wait: 50ms } }
extensions: { state: {}, health: {}, api: {} }
service:
  extensions: [state, health, api]
  pipelines:
    traces/in: { receivers: [otlp], exporters: [wal] }
    traces/store: { receivers: [wal], processors: [cost], exporters: [clickhouse] }
`

async function weir(api: string, ...args: string[]) {
  const child = spawn(process.execPath, [join(dist, 'cmd/main.js'), ...args, '--endpoint', api])
  let out = ''
  let err = ''
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()))
  const [code] = (await once(child, 'close')) as [number]
  return { code, out, err }
}

/** Tables of changes that ClickHouse has on disk. */
function changeTables(of: Daemon): readonly string[] {
  const folder = join(of.directory, 'clickhouse', 'metadata', 'weir')
  return existsSync(folder) ? readdirSync(folder).filter((name) => name.includes('_reprice_')) : []
}

/** How often ClickHouse was told to rewrite rows of the table: it keeps a file of each. */
function mutations(of: Daemon): number {
  const folder = join(of.directory, 'clickhouse', 'data', 'weir', 'otel_traces')
  return readdirSync(folder).filter((name) => name.startsWith('mutation_')).length
}

async function totals(of: Daemon): Promise<{ rows: number; pico: bigint }> {
  const sql = 'SELECT count(), toString(sum(CostUsd)) FROM llm_calls'
  const [row] = await of.query(sql)
  return { rows: Number(row?.[0]), pico: scaled(String(row?.[1]), USD_DIGITS) ?? -1n }
}

it('finishes what a kill -9 interrupted, and then has nothing left to do', async () => {
  daemon = await startDaemon({ config: configOf(1) })
  await daemon.ready()
  for (let seed = 0; seed < REQUESTS; seed++) {
    const answer = await fetch(`${daemon.endpoints.http}/v1/traces`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-protobuf' },
      body: standardRequest(seed + 1, SPANS),
    })
    expect(answer.status).toBe(200)
  }
  const { api } = daemon.endpoints
  await until(async () => (await totals(daemon!)).rows === REQUESTS * SPANS)
  const before = await totals(daemon)
  await writeFile(join(daemon.directory, 'weir.yaml'), configOf(2))
  expect((await fetch(`${api}/-/reload`, { method: 'POST' })).status).toBe(200)

  const range = ['reprice', '--from', '2026-01-01', '--to', '2027-01-01']
  const dry = await weir(api, ...range, '--dry-run')
  expect(dry).toMatchObject({ code: 0, err: '' })
  expect(dry.out).toContain('dry run: nothing was written')
  expect(await totals(daemon)).toEqual(before)

  const interrupted = weir(api, ...range)
  // It goes on for a few tenths of a second.
  while (mutations(daemon) === 0) await delay(2)
  expect(daemon.killStore()).toBeTypeOf('number')
  expect(await interrupted).toMatchObject({ code: 1, out: '' })
  await until(async () => (await totals(daemon!)).rows === before.rows)

  const done = await weir(api, ...range, '--json')
  expect(done).toMatchObject({ code: 0, err: '' })
  expect(await totals(daemon)).toEqual({ rows: before.rows, pico: before.pico * 2n })
  expect(changeTables(daemon)).toEqual([])
  const again = JSON.parse((await weir(api, ...range, '--json')).out) as { total: Record<string, unknown> }
  expect(again.total).toMatchObject({ calls: before.rows, changed: 0, old_unpriced: 0 })
  expect(scaled(String(again.total['new_usd']), USD_DIGITS)).toBe(before.pico * 2n)
})
