import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { afterEach, expect, it } from 'vitest'
import { startClickHouse } from '../clickhouse-http.ts'
import { startDaemon, type Daemon, type DaemonOptions } from '../support/daemon.ts'
import { testPorts } from '../support/ports.ts'
import { startSender, type LedgerSender } from '../support/ledger-sender.ts'
import { until } from '../support/until.ts'

/** The daemon as an operator meets it: reload, restart, loss of parts, and what it says when it cannot. */

const daemons: Daemon[] = []
const senders: LedgerSender[] = []
const directories: string[] = []
async function directoryOf(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'weir-lifecycle-'))
  directories.push(directory)
  return directory
}

afterEach(async () => {
  for (const sender of senders.splice(0)) sender.abort()
  await Promise.all(daemons.splice(0).map((daemon) => daemon.stop()))
  for (const directory of directories.splice(0))
    await rm(directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
})

async function start(config: string, more: Partial<DaemonOptions> = {}): Promise<Daemon> {
  const daemon = await startDaemon({ config, ...more })
  daemons.push(daemon)
  return daemon
}

/** Intake to `sink`, which is read back by SQL in `store`. */
function configOf(
  parts: Partial<Record<'receiver' | 'cost' | 'wal' | 'store' | 'exporters' | 'extra', string>> = {},
): string {
  return `
receivers:
  otlp:
    protocols:
      grpc: { ${parts.receiver ?? ''} }
      http: {}
processors:
  cost: { ${parts.cost ?? ''} }
connectors:
  wal: { ${parts.wal ?? 'driver: embedded'} }
exporters:
  clickhouse: ${parts.store ?? '{ endpoint: embedded, batch: { max_wait: 50ms } }'}
  stdout: { verbosity: normal }
extensions:
  state: {}
  health: {}
  api: {}
service:
  extensions: [state, health, api]
  ${parts.extra ?? ''}
  pipelines:
    traces/in: { receivers: [otlp], exporters: [wal] }
    traces/out: { receivers: [wal], processors: [cost], exporters: [${parts.exporters ?? 'clickhouse'}] }
`
}

/** Writes the config that the next reload reads. */
async function rewrite(daemon: Daemon, config: string): Promise<void> {
  await writeFile(join(daemon.directory, 'weir.yaml'), config)
}

async function reload(daemon: Daemon): Promise<{ status: number; body: Record<string, unknown> }> {
  const answer = await fetch(`${daemon.endpoints.api}/-/reload`, { method: 'POST' })
  return { status: answer.status, body: (await answer.json()) as Record<string, unknown> }
}

function send(daemon: Daemon): LedgerSender {
  const sender = startSender({
    endpoint: () => daemon.endpoints.grpc,
    senders: 4,
    spansPerRequest: 5,
    paceMs: 2,
    // A late answer is none of the failures that are looked for.
    deadlineMs: 60_000,
  })
  senders.push(sender)
  return sender
}

async function allStored(daemon: Daemon, sender: LedgerSender): Promise<void> {
  const spans = sender.acked.size * sender.spansPerRequest
  await until(async () => {
    const [row] = await daemon.query('SELECT count() AS n FROM otel_traces')
    return Number(row?.[0]) >= spans
  })
  const [row] = await daemon.query('SELECT count(), uniqExact(TraceId, SpanId) FROM otel_traces')
  expect(row?.map(Number)).toEqual([spans, spans])
}

/** Until `/readyz` says so; `code` and all of it come from that one answer. */
async function saysReadiness(daemon: Daemon, code: number, ...words: readonly string[]): Promise<void> {
  await expect
    .poll(() => readiness(daemon))
    .toSatisfy(
      (said: { code: number; text: string }) =>
        said.code === code && words.every((word) => said.text.includes(word)),
    )
}

async function readiness(daemon: Daemon): Promise<{ code: number; text: string }> {
  const answer = await fetch(`${daemon.endpoints.health}/readyz`)
  return { code: answer.status, text: await answer.text() }
}

/** One model call, by OTLP JSON. */
async function sendCall(daemon: Daemon, span: string): Promise<void> {
  const attributes = [
    { key: 'gen_ai.operation.name', value: { stringValue: 'chat' } },
    { key: 'gen_ai.request.model', value: { stringValue: 'house-model' } },
    { key: 'gen_ai.usage.input_tokens', value: { intValue: '1000000' } },
    { key: 'gen_ai.usage.output_tokens', value: { intValue: '0' } },
  ]
  const spans = [
    {
      traceId: '0123456789abcdef0123456789abcdef',
      spanId: span,
      name: 'chat',
      startTimeUnixNano: '1750000000000000000',
      endTimeUnixNano: '1750000001000000000',
      attributes,
    },
  ]
  const answer = await fetch(`${daemon.endpoints.http}/v1/traces`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ resourceSpans: [{ scopeSpans: [{ spans }] }] }),
  })
  expect(answer.status).toBe(200)
}

it('reloads under load: the unchanged stays, a changed receiver is replaced, nothing is refused or lost', async () => {
  const daemon = await start(configOf())
  await daemon.ready()
  const sender = send(daemon)
  await sender.progress(50)
  const store = daemon.storePid()

  await rewrite(daemon, configOf({ receiver: 'max_recv_msg_size_mib: 8' }))
  expect(await reload(daemon)).toMatchObject({ status: 200, body: { changed: ['receiver:otlp'] } })
  await sender.progress(50)

  await rewrite(daemon, configOf({ receiver: 'max_recv_msg_size_mib: 9', exporters: 'clickhouse, stdout' }))
  process.kill(daemon.pid, 'SIGHUP')
  await until(() => daemon.log().split('The new configuration is running').length === 3)
  await sender.progress(50)

  await sender.finish()
  expect(sender.figures.failures).toEqual({})
  await allStored(daemon, sender)
  expect(daemon.storePid()).toBe(store)
})

it('takes a changed processor and a new exporter into use, and lets them go again', async () => {
  const price = (usd: number): string => `overrides: [{ model: house-model, input: ${usd}, output: 0 }]`
  const daemon = await start(configOf({ cost: price(2) }))
  await daemon.ready()
  const costs = async (count: number): Promise<unknown> => {
    await until(async () => (await daemon.query('SELECT SpanId FROM otel_traces')).length === count)
    return daemon.query('SELECT toFloat64(CostUsd) FROM otel_traces ORDER BY SpanId')
  }
  await sendCall(daemon, '0000000000000001')
  expect(await costs(1)).toEqual([[2]])

  await rewrite(daemon, configOf({ cost: price(3), exporters: 'clickhouse, stdout' }))
  const { body } = await reload(daemon)
  expect(body['changed']).toEqual(expect.arrayContaining(['processor:cost', 'exporter:stdout']))
  await sendCall(daemon, '00000000000000aa')
  expect(await costs(2)).toEqual([[2], [3]])
  await until(() => daemon.log().includes('00000000000000aa'))

  await rewrite(daemon, configOf({ cost: price(3) }))
  await reload(daemon)
  await sendCall(daemon, '00000000000000bb')
  expect(await costs(3)).toEqual([[2], [3], [3]])
  expect(daemon.log()).not.toContain('00000000000000bb')
})

it('runs the old config on when the new one is invalid, needs a restart, or cannot start; and says why', async () => {
  const own = await directoryOf()
  const wal = (directory: string): string => `driver: "\${env:DRIVER}", directory: ${join(own, directory)}`
  const daemon = await start(configOf({ wal: wal('wal') }), { env: { DRIVER: 'embedded' } })
  await daemon.ready()
  const sender = send(daemon)
  const digest = (await daemon.status())['config_digest']
  const refused = async (config: string, why: RegExp): Promise<void> => {
    await rewrite(daemon, config)
    const { status, body } = await reload(daemon)
    expect(status).toBeGreaterThanOrEqual(400)
    expect(String(body['detail'])).toMatch(why)
    expect((await daemon.status())['config_digest']).toBe(digest)
    expect(await readiness(daemon)).toMatchObject({ code: 200 })
    await sender.progress(10)
  }
  const busy = createServer()
  await new Promise<void>((resolve) => busy.listen(0, '127.0.0.1', resolve))
  const { port } = busy.address() as AddressInfo

  await refused(configOf({ wal: wal('wal'), cost: 'pric_file: x' }), /weir.yaml:\d+:\d+ .*pric_file/)
  await refused(configOf({ wal: wal('other') }), /connectors\.wal\.directory cannot change.*restart/)
  await refused(
    configOf({ wal: 'driver: jetstream, servers: ["nats://127.0.0.1:1"]' }),
    /connectors\.wal\.driver.*restart/,
  )
  await refused(
    configOf({ wal: wal('wal'), store: '{ endpoint: "http://127.0.0.1:1" }' }),
    /exporter:clickhouse/,
  )
  // Fails in the main process, after the store process has already changed.
  const second = `  otlp/two: { protocols: { grpc: { endpoint: "127.0.0.1:${port}" } } }\nprocessors:`
  const both = configOf({ wal: wal('wal'), exporters: 'clickhouse, stdout' }).replace('processors:', second)
  await refused(
    both.replace('receivers: [otlp]', 'receivers: [otlp, otlp/two]'),
    new RegExp(`127.0.0.1:${port}`),
  )
  busy.close()

  await sender.finish()
  expect(sender.figures.failures).toEqual({})
  await allStored(daemon, sender)
})

it('goes on taking data when the store process is killed, says so, and stores the backlog', async () => {
  const daemon = await start(configOf())
  await daemon.ready()
  const sender = send(daemon)
  await sender.progress(20)
  const first = daemon.killStore()
  await saysReadiness(daemon, 200, 'process:store', 'degraded')
  await sender.progress(50)
  await until(() => daemon.storePid() !== undefined && daemon.storePid() !== first)
  await sender.finish()
  await allStored(daemon, sender)
  expect(sender.figures.failures).toEqual({})
  expect((await daemon.metrics()).sum('weir_store_process_restarts')).toBe(1)
})

it('ends its store process when it is killed itself, so that the next daemon can open the data', async () => {
  const daemon = await start(configOf())
  await daemon.ready()
  const sender = send(daemon)
  await sender.progress(50)
  const orphan = daemon.storePid() ?? 0
  await daemon.kill('SIGKILL')
  await until(() => !isAlive(orphan))
  await daemon.restart()
  await daemon.ready()
  await sender.finish()
  await allStored(daemon, sender)
})

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

it('runs without ClickHouse, names what is missing, and stores the backlog when it comes', async () => {
  const [port = 0] = await testPorts(1)
  const daemon = await start(configOf({ store: `{ endpoint: "http://127.0.0.1:${port}", timeout: 5s }` }))
  await daemon.ready()
  const sender = send(daemon)
  await sender.progress(20)
  await sender.finish()
  await saysReadiness(daemon, 200, 'exporter:clickhouse', 'ECONNREFUSED')
  const server = await startClickHouse(port)
  try {
    await allStored(daemon, sender)
    await until(async () => (await readiness(daemon)).text.includes('"ready"'))
  } finally {
    await daemon.stop()
    await server.close()
  }
})

it('ends with 1 and a clear line when it cannot start', async () => {
  const busy = createServer()
  await new Promise<void>((resolve) => busy.listen(0, '127.0.0.1', resolve))
  const { port } = busy.address() as AddressInfo
  const own = await directoryOf()
  await mkdir(join(own, 'wal'))
  await writeFile(join(own, 'wal', 'data.mdb'), Buffer.alloc(64 * 1024, 'not a log'))
  const wal = `driver: "\${env:DRIVER}", directory: ${join(own, 'wal')}`
  const ends = async (says: RegExp, config: string, more: Partial<DaemonOptions> = {}): Promise<void> => {
    const daemon = await start(config, more)
    await expect(daemon.ready()).rejects.toThrow(says)
    expect((await daemon.kill()).code).toBe(1)
    expect(daemon.log()).not.toMatch(/\n\s+at /)
  }
  await ends(new RegExp(`127.0.0.1:${port}: another program uses the port`), configOf(), {
    sets: [`receivers.otlp.protocols.grpc.endpoint=127.0.0.1:${port}`],
  })
  busy.close()
  await ends(
    /connector:wal did not start.*NATS/i,
    configOf({ wal: `driver: jetstream, servers: ["nats://127.0.0.1:1"]` }),
  )
  await ends(/connector:wal did not start.*data\.mdb|connector:wal did not start.*WAL/i, configOf({ wal }), {
    env: { DRIVER: 'embedded' },
  })
  await ends(/api: .*reachable from other machines/, configOf(), {
    sets: ['extensions.api.endpoint=0.0.0.0:0'],
  })
})

it('tells its health while it waits for a NATS that does not speak', async () => {
  const mute = createServer()
  await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve))
  const { port } = mute.address() as AddressInfo
  const wal = `driver: jetstream, servers: ["nats://127.0.0.1:${port}"]`
  const daemon = await start(configOf({ wal }))
  await expect
    .poll(() => readiness(daemon).catch(() => undefined))
    .toMatchObject({ code: 503, text: expect.stringContaining('the WAL is not open') })
  expect(daemon.log()).not.toContain('could not be read')
  await daemon.kill()
  mute.close()
})

it('refuses what it cannot write to a full disk, loses nothing that it acknowledged, and recovers', async (context) => {
  const own = await directoryOf()
  const disk = join(own, 'disk')
  await mkdir(disk)
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=24m', 'tmpfs', disk])
  if (mounted.status !== 0) context.skip('mounting a small tmpfs needs root')
  try {
    const wal = `driver: "\${env:DRIVER}", directory: ${join(disk, 'wal')}`
    const daemon = await start(configOf({ wal }), { env: { DRIVER: 'embedded' } })
    await daemon.ready()
    const sender = send(daemon)
    await sender.progress(20)
    const filled = spawnSync('dd', ['if=/dev/zero', `of=${join(disk, 'filler')}`, 'bs=64k'])
    expect(String(filled.stderr)).toContain('No space')
    await until(() => Object.keys(sender.figures.failures).length > 0)
    // A small write may still find room, and a failed one speaks for a while only.
    await expect
      .poll(() => readiness(daemon))
      .toMatchObject({ code: 503, text: expect.stringContaining('connector:wal') })
    await rm(join(disk, 'filler'))
    await sender.progress(20)
    await sender.finish()
    await allStored(daemon, sender)
    await daemon.stop()
  } finally {
    spawnSync('umount', ['-l', disk])
  }
})

it('drains on SIGTERM, also while it starts', async () => {
  const daemon = await start(configOf())
  await until(() => daemon.storePid() !== undefined)
  expect(await daemon.kill('SIGTERM')).toMatchObject({ code: 0 })
  await daemon.restart()
  await daemon.ready()
  const sender = send(daemon)
  await sender.progress(20)
  expect(await daemon.kill('SIGTERM')).toMatchObject({ code: 0 })
  await daemon.restart()
  await daemon.ready()
  await sender.finish()
  await allStored(daemon, sender)
})
