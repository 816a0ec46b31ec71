import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { runCli } from '../../cmd/cli.ts'
import { decodeBatch } from '../../pipeline/batch/otlp-batch.ts'
import { testBatch } from '../contract/exporter.ts'
import { ask, tracesRequest } from '../contract/otlp-clients.ts'
import { startDaemon, type Daemon } from '../support/daemon.ts'
import { startGrpc, type OtlpServer } from '../support/otlp-server.ts'

/** What a destination refuses for good waits in the dead letters, and goes to it, and to it alone, when an operator says so. */

const undo: (() => Promise<unknown> | void)[] = []
afterEach(async () => {
  for (const each of undo.splice(0).reverse()) await each()
})

function configOf(servers: readonly OtlpServer[]): string {
  const [strict, open] = servers.map(({ address }) => `{ endpoint: "${address}", tls: { insecure: true } }`)
  return `receivers:
  otlp: { protocols: { http: { endpoint: 127.0.0.1:0 } } }
connectors:
  wal: { driver: embedded }
exporters:
  otlp/strict: ${strict}
  otlp/open: ${open}
extensions:
  state: { driver: embedded }
  health: {}
  api: {}
service:
  extensions: [state, health, api]
  pipelines:
    traces/ingest: { receivers: [otlp], exporters: [wal] }
    traces/store: { receivers: [wal], exporters: [otlp/strict, otlp/open] }
`
}

function namesAt(server: OtlpServer, from = 0): string[] {
  return server.seen.slice(from).flatMap(({ body }) => {
    const batch = decodeBatch(body, testBatch([]).meta)
    return Array.from({ length: batch.rows }, (_, row) => batch.name(row))
  })
}

async function weir(daemon: Daemon, ...argv: string[]): Promise<{ code: number; text: string }> {
  let text = ''
  const io = {
    out: (more: string) => void (text += more),
    err: (more: string) => void (text += more),
    tty: false,
  }
  const code = await runCli(argv, { ...io, env: { WEIR_ENDPOINT: daemon.endpoints.api } })
  return { code, text }
}

interface Listing {
  readonly dead_letters: readonly {
    readonly id: string
    readonly reason: string
    readonly component: string
  }[]
}

async function listed(daemon: Daemon, ...filters: string[]): Promise<Listing['dead_letters']> {
  const { code, text } = await weir(daemon, 'dlq', 'ls', '--json', ...filters)
  expect(code).toBe(0)
  return (JSON.parse(text) as Listing).dead_letters
}

test(
  'listed, shown, sent again exactly once to the exporter that refused it, or purged',
  { timeout: 120_000 },
  async () => {
    let picky = true
    const strict = await startGrpc(({ body }) =>
      picky && body.includes('bad') ? { code: 3, message: 'no bad spans here' } : { ok: true },
    )
    const open = await startGrpc(() => ({ ok: true }))
    undo.push(
      () => strict.close(),
      () => open.close(),
    )
    const daemon = await startDaemon({ config: configOf([strict, open]) })
    undo.push(() => daemon.stop())
    await daemon.ready()
    const port = Number(new URL(daemon.endpoints.http).port)
    for (const name of ['good', 'bad one', 'bad two', 'bad three']) {
      expect((await ask(port, { body: tracesRequest(name) })).status).toBe(200)
    }

    await expect.poll(async () => (await listed(daemon)).length).toBe(3)
    await expect.poll(() => namesAt(open).sort()).toEqual(['bad one', 'bad three', 'bad two', 'good'])
    const letters = await listed(daemon, '--exporter', 'otlp/strict', '--reason', 'NO BAD', '--since', '1h')
    expect(letters).toHaveLength(3)
    expect(letters[0]).toMatchObject({
      component: 'otlp/strict',
      reason: 'INVALID_ARGUMENT: no bad spans here',
    })
    expect(await listed(daemon, '--exporter', 'otlp/open')).toEqual([])
    expect(await listed(daemon, '--until', '1h')).toEqual([])
    const shown = await weir(daemon, 'dlq', 'show', letters[0]?.id ?? '')
    expect(shown.text).toContain('"name": "bad one"')

    // Refused again: a letter again, and the other exporter hears nothing of it.
    const before = open.seen.length
    expect((await weir(daemon, 'dlq', 'retry', letters[0]?.id ?? '')).text).toContain(
      '1 letter of 1 span sent again',
    )
    await expect.poll(async () => (await listed(daemon)).map(({ id }) => id)).toHaveLength(3)
    expect((await listed(daemon)).map(({ id }) => id)).not.toContain(letters[0]?.id)

    picky = false
    const asked = strict.seen.length
    const [purged] = await listed(daemon, '--limit', '1')
    expect((await weir(daemon, 'dlq', 'purge', purged?.id ?? '')).code).toBe(0)
    expect((await weir(daemon, 'dlq', 'retry', '--exporter', 'otlp/strict')).code).toBe(0)
    await expect.poll(() => namesAt(strict, asked).length).toBe(2)
    expect(await listed(daemon)).toEqual([])
    expect((await weir(daemon, 'dlq', 'retry', '--all')).text).toContain('0 letters')
    // A good span afterwards passes behind what was sent again.
    expect((await ask(port, { body: tracesRequest('last') })).status).toBe(200)
    await expect.poll(() => namesAt(strict)).toContain('last')
    await expect.poll(() => namesAt(open)).toContain('last')
    expect(namesAt(strict, asked)).toHaveLength(3)
    expect(namesAt(open, before)).toEqual(['last'])
    // A server has a span before the cursor of its exporter has passed it.
    const cursors = async (): Promise<object[]> =>
      (JSON.parse((await weir(daemon, 'cursor', 'ls', '--json')).text) as { cursors: object[] }).cursors
    await expect.poll(cursors).toMatchObject([
      { cursor: 'traces/store/otlp/open', in_config: true, lag_spans: 0, ledger: { passed: 5, stored: 5 } },
      {
        cursor: 'traces/store/otlp/strict',
        in_config: true,
        lag_spans: 0,
        ledger: { passed: 8, dead_lettered: 4 },
      },
    ])
    const metrics = await daemon.metrics()
    expect(metrics.sum('weir_accounting_imbalance_spans')).toBe(0)
    expect((await weir(daemon, 'cursor', 'rm', 'traces/store/otlp/open')).text).toContain(
      'in the config of a daemon',
    )
    expect((await weir(daemon, 'cursor', 'rm', 'traces/store/gone')).text).toContain('there is no cursor')
    expect((await weir(daemon, 'dlq', 'purge')).code).toBe(2)
    expect((await weir(daemon, 'dlq', 'show', 'nothing@1.0')).text).toContain('there is no dead letter')
  },
)

test(
  'a line that cannot be read is listed with its place, and nothing can send it again',
  { timeout: 180_000 },
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'weir-lines-'))
    undo.push(() => rmSync(folder, { recursive: true }))
    writeFileSync(join(folder, 'a.jsonl'), 'no json\n')
    const config = `receivers:
  jsonl: { include: ['${folder}/*.jsonl'], start_at: beginning, poll_interval: 20ms }
connectors:
  wal: { driver: embedded }
exporters:
  stdout: {}
extensions:
  state: { driver: embedded }
  health: {}
  api: {}
service:
  extensions: [state, health, api]
  pipelines:
    traces/ingest: { receivers: [jsonl], exporters: [wal] }
    traces/store: { receivers: [wal], exporters: [stdout] }
`
    const daemon = await startDaemon({ config })
    undo.push(() => daemon.stop())
    await daemon.ready()
    await expect
      .poll(() => listed(daemon, '--exporter', 'jsonl'))
      .toMatchObject([{ format: 'none', connector: 'receiver/jsonl', origin: { offset: 0, length: 8 } }])
    const again = await weir(daemon, 'dlq', 'retry', '--all')
    expect(again).toMatchObject({ code: 1, text: expect.stringContaining('a.jsonl at byte') as string })
    expect((await weir(daemon, 'dlq', 'purge', '--exporter', 'jsonl')).code).toBe(0)
    expect(await listed(daemon)).toEqual([])
  },
)
