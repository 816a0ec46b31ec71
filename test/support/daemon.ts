import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'
import { Page } from '../../bench/scrape.ts'
import { testPorts } from './ports.ts'

/** The built daemon that end-to-end tests run; `WEIR_TEST_DIST` names another build. */
export const dist =
  process.env['WEIR_TEST_DIST'] ?? fileURLToPath(new URL('../../dist', import.meta.url)).replace(/\/$/, '')

export interface DaemonOptions {
  /** Path of a config file, or YAML text. Ports and embedded directories are replaced by ones of this daemon. */
  readonly config: string
  readonly env?: Readonly<Record<string, string>>
  /** Further `--set`s, after those of the harness. */
  readonly sets?: readonly string[]
}

export interface Endpoints {
  /** host:port */
  readonly grpc: string
  /** URLs from here on. */
  readonly http: string
  readonly toon: string
  readonly api: string
  readonly health: string
  readonly metrics: string
}

/** How a process ended. */
export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly ms: number
}

export interface Daemon {
  readonly pid: number
  readonly directory: string
  readonly endpoints: Endpoints
  /** The store process of now; undefined while there is none. */
  storePid(): number | undefined
  /** Resolves once `/readyz` answers 200; rejects with the end of the log when the daemon ends or the time is up. */
  ready(timeoutMs?: number): Promise<void>
  /** `/status` as it is. */
  status(): Promise<Record<string, unknown>>
  /** Rows of a SELECT through the API; asks again while the store process is not there. */
  query(sql: string, timeoutMs?: number): Promise<readonly (readonly unknown[])[]>
  metrics(): Promise<Page>
  /** Sends a signal and waits for the end. */
  kill(signal?: NodeJS.Signals): Promise<Exit>
  /** kill -9 of the store process: its pid, or undefined when there was none. */
  killStore(): number | undefined
  /** The same command once more, ending the present one by `signal` if it still runs. */
  restart(signal?: NodeJS.Signals): Promise<void>
  /** SIGTERM, kill after 30 s, then removes the directory. Idempotent. */
  stop(): Promise<void>
  log(): string
}

/** Of a machine that has ten times more to do than it can. */
const READY_MS = 180_000
const STOP_MS = 30_000

/** Starts it and does not wait for it: see `ready`. */
export async function startDaemon(options: DaemonOptions): Promise<Daemon> {
  const directory = await mkdtemp(join(tmpdir(), 'weir-daemon-'))
  const [grpc, http, api, health, metrics, toon] = await testPorts(6)
  const endpoints: Endpoints = {
    grpc: `127.0.0.1:${grpc}`,
    http: `http://127.0.0.1:${http}`,
    toon: `http://127.0.0.1:${toon}`,
    api: `http://127.0.0.1:${api}`,
    health: `http://127.0.0.1:${health}`,
    metrics: `http://127.0.0.1:${metrics}/metrics`,
  }
  const isText = options.config.includes('\n')
  const file = isText ? join(directory, 'weir.yaml') : options.config
  if (isText) await writeFile(file, options.config)
  const text = isText ? options.config : await readFile(file, 'utf8')
  const sets = [...ownSets(parse(text) as Sections, directory, endpoints), ...(options.sets ?? [])]
  const args = [
    join(dist, 'cmd/main.js'),
    'run',
    '--config',
    file,
    ...sets.flatMap((each) => ['--set', each]),
  ]
  const logFile = join(directory, 'daemon.log')
  const start = (): ChildProcess => spawnLogged(args, { ...process.env, ...options.env }, logFile)
  let child = start()
  const log = (): string => readFileSync(logFile, 'utf8')
  const kill = async (signal: NodeJS.Signals = 'SIGKILL'): Promise<Exit> => end(child, signal)
  return {
    get pid() {
      return child.pid ?? 0
    },
    directory,
    endpoints,
    storePid: () => childOf(child.pid),
    ready: (timeoutMs = READY_MS) => ready(`${endpoints.health}/readyz`, child, log, timeoutMs),
    status: async () => (await (await fetch(`${endpoints.health}/status`)).json()) as Record<string, unknown>,
    query: (sql, timeoutMs = READY_MS) => query(endpoints.api, sql, child, log, timeoutMs),
    metrics: () => Page.of(endpoints.metrics),
    kill,
    killStore() {
      const pid = childOf(child.pid)
      return pid !== undefined && killPid(pid) ? pid : undefined
    },
    async restart(signal = 'SIGKILL') {
      await kill(signal)
      child = start()
    },
    async stop() {
      await kill('SIGTERM')
      await rm(directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
    },
    log,
  }
}

type Section = Record<string, unknown> | null | undefined
interface Sections {
  readonly receivers?: Section
  readonly connectors?: Section
  readonly exporters?: Section
  readonly extensions?: Section
}

/** Ports and directories of this daemon, for what the config has. */
function ownSets(config: Sections, directory: string, endpoints: Endpoints): string[] {
  const host = (url: string): string => new URL(url).host
  const sets: string[] = []
  each(config.receivers, (id, type, value) => {
    if (type === 'toon') sets.push(`receivers.${id}.endpoint=${host(endpoints.toon)}`)
    if (type !== 'otlp') return
    const protocols = (value['protocols'] ?? {}) as Record<string, unknown>
    if ('grpc' in protocols) sets.push(`receivers.${id}.protocols.grpc.endpoint=${endpoints.grpc}`)
    if ('http' in protocols) sets.push(`receivers.${id}.protocols.http.endpoint=${host(endpoints.http)}`)
  })
  each(config.connectors, (id, _type, { driver = 'embedded' }) => {
    if (driver === 'embedded')
      sets.push(`connectors.${id}.directory=${join(directory, id.replace('/', '-'))}`)
  })
  each(config.exporters, (id, type, { endpoint }) => {
    if (type === 'clickhouse' && endpoint === 'embedded')
      sets.push(`exporters.${id}.directory=${join(directory, id.replace('/', '-'))}`)
  })
  each(config.extensions, (id, type, { driver = 'embedded' }) => {
    if (type === 'api') sets.push(`extensions.${id}.endpoint=${host(endpoints.api)}`)
    if (type === 'health') sets.push(`extensions.${id}.endpoint=${host(endpoints.health)}`)
    if (type === 'state' && driver === 'embedded') sets.push(`extensions.${id}.directory=${directory}/state`)
  })
  const { hostname, port } = new URL(endpoints.metrics)
  sets.push(
    `service.telemetry.metrics.readers=[{pull: {exporter: {prometheus: {host: ${hostname}, port: ${port}}}}}]`,
  )
  return sets
}

function each(
  section: Section,
  visit: (id: string, type: string, value: Record<string, unknown>) => void,
): void {
  for (const [id, value] of Object.entries(section ?? {})) {
    visit(id, id.split('/')[0] ?? '', (value ?? {}) as Record<string, unknown>)
  }
}

function spawnLogged(args: readonly string[], env: NodeJS.ProcessEnv, logFile: string): ChildProcess {
  const fd = openSync(logFile, 'a')
  const child = spawn(process.execPath, args, { stdio: ['ignore', fd, fd], env })
  closeSync(fd)
  // A test that fails before `stop` must not leave a daemon behind; the store process follows its parent.
  const reap = (): boolean => child.kill('SIGKILL')
  process.once('exit', reap)
  child.once('exit', () => process.off('exit', reap))
  return child
}

async function ready(url: string, child: ChildProcess, log: () => string, timeoutMs: number): Promise<void> {
  const endMs = performance.now() + timeoutMs
  while (performance.now() < endMs && isRunning(child)) {
    const answer = await fetch(url).catch(() => undefined)
    await answer?.arrayBuffer().catch(() => undefined)
    if (answer?.ok === true) return
    await delay(25)
  }
  throw new Error(`the daemon did not become ready:\n${lastLines(log())}`)
}

async function query(
  api: string,
  sql: string,
  child: ChildProcess,
  log: () => string,
  timeoutMs: number,
): Promise<readonly (readonly unknown[])[]> {
  const endMs = performance.now() + timeoutMs
  let last = 'not asked'
  while (performance.now() < endMs && isRunning(child)) {
    const headers = { 'content-type': 'application/json' }
    const body = JSON.stringify({ sql })
    const answer = await fetch(`${api}/v1/query`, { method: 'POST', headers, body }).catch(() => undefined)
    if (answer?.ok === true) return ((await answer.json()) as { rows: unknown[][] }).rows
    last = answer === undefined ? 'no connection' : `${answer.status} ${await answer.text()}`
    // 404: the store process has no queryable exporter yet; 503 and 429: come again.
    if (answer !== undefined && ![404, 429, 503].includes(answer.status)) break
    await delay(50)
  }
  throw new Error(`the query did not succeed: ${last}\n${sql}\n${lastLines(log())}`)
}

function lastLines(text: string): string {
  return text.split('\n').slice(-30).join('\n')
}

function isRunning(child: ChildProcess): boolean {
  return child.exitCode === null && child.signalCode === null
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<Exit> {
  const begun = performance.now()
  if (isRunning(child)) {
    const ended = once(child, 'exit')
    child.kill(signal)
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS)
    await ended
    clearTimeout(timer)
  }
  return { code: child.exitCode, signal: child.signalCode, ms: performance.now() - begun }
}

function killPid(pid: number): boolean {
  try {
    return process.kill(pid, 'SIGKILL')
  } catch {
    return false
  }
}

/** The store process is the daemon's only child, forked by any of its threads. Linux only. */
function childOf(pid: number | undefined): number | undefined {
  try {
    for (const task of readdirSync(`/proc/${pid}/task`)) {
      const [first = ''] = readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').trim().split(' ')
      if (first !== '') return Number(first)
    }
  } catch {
    // It has ended.
  }
  return undefined
}
