import { fork, spawn, type ChildProcess } from 'node:child_process'
import { openSync, readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { freePorts } from '../pipeline/net/free-ports.ts'
import type { LoadPlan, LoadResult } from './load/plan.ts'

/** What stands under load: a daemon of its own, its store process, a nats-server if asked for. */
export interface RigPlan {
  readonly wal: 'embedded' | 'jetstream'
  /** Store pipeline to embedded ClickHouse, with cost, or none. */
  readonly store: boolean
  readonly durability: 'process' | 'strict'
}

export interface Rig {
  readonly grpc: string
  readonly http: string
  readonly toon: string
  readonly metrics: string
  /** CPU seconds so far and resident MiB, by process. */
  usage(): Record<string, Usage>
  load(plan: LoadPlan): Promise<LoadResult>
  stop(): Promise<void>
}

export interface Usage {
  readonly cpuSeconds: number
  readonly rssMiB: number
}

const START_MS = 60_000

export async function startRig(plan: RigPlan): Promise<Rig> {
  const directory = await mkdtemp(join(tmpdir(), 'weir-bench-'))
  const [grpc = 0, http = 0, health = 0, metrics = 0, natsPort = 0, toon = 0] = await freePorts(6)
  const nats = plan.wal === 'jetstream' ? await startNats(directory, natsPort) : undefined
  const config = join(directory, 'weir.yaml')
  await writeFile(config, rigConfig(plan, directory, { grpc, http, toon, health, metrics, nats: natsPort }))
  const log = join(directory, 'daemon.log')
  const main = fileURLToPath(new URL('../cmd/main.js', import.meta.url))
  const fd = openSync(log, 'a')
  const daemon = spawn(process.execPath, [main, 'run', '--config', config], { stdio: ['ignore', fd, fd] })
  const stop = async (): Promise<void> => {
    await end(daemon)
    if (nats !== undefined) await end(nats)
    await rm(directory, { recursive: true, force: true })
  }
  try {
    await ready(`http://127.0.0.1:${health}/readyz`, daemon, log)
  } catch (error) {
    await stop()
    throw error
  }
  return {
    grpc: `127.0.0.1:${grpc}`,
    http: `127.0.0.1:${http}`,
    toon: `127.0.0.1:${toon}`,
    metrics: `http://127.0.0.1:${metrics}/metrics`,
    usage: () => usageOf(daemon, nats),
    load: runLoad,
    stop,
  }
}

function rigConfig(plan: RigPlan, directory: string, ports: Record<string, number>): string {
  const wal =
    plan.wal === 'embedded'
      ? `{ driver: embedded, directory: ${directory}/wal, durability: ${plan.durability}, keep: 0s }`
      : `{ driver: jetstream, servers: ['127.0.0.1:${ports['nats']}'], durability: ${plan.durability}, keep: 0s }`
  const store = '    traces/store: { receivers: [wal], processors: [cost], exporters: [clickhouse] }\n'
  return `receivers:
  otlp: { protocols: { grpc: { endpoint: '127.0.0.1:${ports['grpc']}' }, http: { endpoint: '127.0.0.1:${ports['http']}' } } }
  toon: { endpoint: '127.0.0.1:${ports['toon']}' }
processors: { cost: {} }
connectors: { wal: ${wal} }
exporters:
  clickhouse: { endpoint: embedded, directory: ${directory}/clickhouse }
extensions:
  state: { driver: embedded, directory: ${directory}/state }
  health: { endpoint: '127.0.0.1:${ports['health']}' }
service:
  extensions: [state, health]
  pipelines:
    traces/ingest: { receivers: [otlp, toon], exporters: [wal] }
${plan.store ? store : ''}  telemetry:
    metrics: { readers: [{ pull: { exporter: { prometheus: { host: 127.0.0.1, port: ${ports['metrics']} } } } }] }
`
}

async function startNats(directory: string, port: number): Promise<ChildProcess> {
  const config = join(directory, 'nats.conf')
  await writeFile(
    config,
    `listen: 127.0.0.1:${port}\nmax_payload: 8MB\njetstream { store_dir: "${directory}/nats", max_file_store: 32GB }\n`,
  )
  const nats = spawn('nats-server', ['-c', config], { stdio: 'ignore' })
  for (let tries = 0; tries < 200 && nats.exitCode === null; tries++) {
    if (await canConnect(port)) return nats
    await delay(25)
  }
  throw new Error('nats-server did not start: is it on the PATH?')
}

function canConnect(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}

async function ready(url: string, daemon: ChildProcess, log: string): Promise<void> {
  const endMs = performance.now() + START_MS
  while (performance.now() < endMs && daemon.exitCode === null) {
    const answer = await fetch(url).catch(() => undefined)
    await answer?.arrayBuffer()
    if (answer?.ok === true) return
    await delay(50)
  }
  const text = await readFile(log, 'utf8')
  throw new Error(`the daemon did not become ready:\n${text.split('\n').slice(-20).join('\n')}`)
}

/** Runs a plan in a process of its own. */
function runLoad(plan: LoadPlan): Promise<LoadResult> {
  const child = fork(fileURLToPath(new URL('./load/main.js', import.meta.url)))
  return new Promise((resolve, reject) => {
    child.once('message', (result) => resolve(result as LoadResult))
    child.once('exit', (code) => reject(new Error(`the load generator ended with code ${code}`)))
    child.send(plan)
  })
}

/**
 * From /proc: utime and stime are fields 14 and 15, in ticks of 10 ms; memory is the process' own (`RssAnon`): the pages of the
 * WAL's file that it has mapped are the page cache's, and go when somebody needs the room. Linux only; elsewhere zeros.
 */
function usageOf(daemon: ChildProcess, nats: ChildProcess | undefined): Record<string, Usage> {
  const usage: Record<string, Usage> = { main: procUsage(daemon.pid) }
  const store = childOf(daemon.pid)
  if (store !== undefined) usage['store'] = procUsage(store)
  if (nats !== undefined) usage['nats'] = procUsage(nats.pid)
  return usage
}

function procUsage(pid: number | undefined): Usage {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    const [, anonKiB = 0] = /^RssAnon:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
    return { cpuSeconds: (Number(fields[11]) + Number(fields[12])) / 100, rssMiB: Number(anonKiB) / 1024 }
  } catch {
    return { cpuSeconds: 0, rssMiB: 0 }
  }
}

function childOf(pid: number | undefined): number | undefined {
  try {
    const [task = ''] = readdirSync(`/proc/${pid}/task`).filter((name) => name === String(pid))
    const children = readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').trim()
    return children === '' ? undefined : Number(children.split(' ')[0])
  } catch {
    return undefined
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), 30_000)
  await ended
  clearTimeout(timer)
}
