import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { expect, test, type TestContext } from 'vitest'
import { startDaemon, type Daemon } from '../support/daemon.ts'
import { startSender, traceId, type LedgerSender } from '../support/ledger-sender.ts'
import { expectBalance, expectLedger, reckon, stateOf } from './reckon.ts'
import { daemonConfig, say } from './world.ts'

interface Step {
  readonly name: string
  readonly calls: string
  /** Only on this file, below the daemon's directory. */
  readonly path?: (directory: string) => string
  /** Which of the calls is the last thing that the process does; it dies before the call is done. */
  readonly nth: number
  /** The process is stopped once the insert has been answered, and traced from there. */
  readonly afterInsert?: boolean
}

const RENAMES = 'rename,renameat,renameat2'
const UNLINKS = 'unlink,unlinkat'
const STATE_WRITES = 'pwrite64,writev,fdatasync'
const inState = (directory: string): string => join(directory, 'state/data.mdb')

/**
 * A commit of the state is page writes, a sync, and the meta page that makes it valid: four calls of one thread, or
 * five. Now and then the lease is renewed in that moment: then the kill is in the commit before.
 */
const STATE: readonly Step[] = [
  { name: 'the freeze is begun', calls: STATE_WRITES, path: inState, nth: 1 },
  { name: 'the freeze is synced', calls: STATE_WRITES, path: inState, nth: 3 },
  { name: 'the freeze is committed', calls: STATE_WRITES, path: inState, nth: 4 },
  { name: 'the advance is begun', calls: STATE_WRITES, path: inState, nth: 1, afterInsert: true },
  { name: 'the advance is committed', calls: STATE_WRITES, path: inState, nth: 4, afterInsert: true },
]

/** A request has two partitions: two parts of spans and two of the look-up by trace id. */
const INSERT: readonly Step[] = [
  { name: 'the block is handed over', calls: 'mkdir,mkdirat', nth: 1 },
  { name: 'the token is logged', calls: 'write,pwrite64', path: tokenLog, nth: 1 },
  { name: 'the first part is renamed, its token is logged', calls: RENAMES, nth: 1 },
  { name: 'the second part is renamed', calls: RENAMES, nth: 2 },
  { name: 'the third part is renamed', calls: RENAMES, nth: 3 },
  { name: 'the insert is answered, its block is removed', calls: UNLINKS, nth: 1 },
]

test.concurrent.for([
  ['the state writes', STATE],
  ['the insert', INSERT],
] as const)(
  'killed at each step of %s, the range is stored once',
  // strace may attach too late to hit its step: then nothing was shown, and it is tried again.
  { timeout: 240_000, retry: 2 },
  async ([part, steps], context) => {
    if (spawnSync('strace', ['-V']).status !== 0)
      context.skip('strace is missing: these kills were not tried')
    const daemon = await startDaemon({ config: daemonConfig() })
    context.onTestFinished(() => daemon.stop())
    await daemon.ready()
    let request = 1
    let stored = await sendOne(daemon, request++, context)
    const recoveryMs: number[] = []
    for (const [index, step] of steps.entries()) {
      // A new daemon now and then, for else the pause before a restart of the store process doubles.
      if (index % 3 === 2) {
        await daemon.restart('SIGTERM')
        await sendOne(daemon, request++, context)
      }
      const { sprung } = await armed(daemon, step)
      const begun = performance.now()
      const [more, end] = await Promise.all([sendOne(daemon, request++, context), sprung])
      expect(end, step.name).toBe('SIGKILL')
      recoveryMs.push(Math.round(performance.now() - begun))
      expect(more, step.name).toEqual(stored)
      stored = more
    }
    // The last delivery was by a process that nobody killed: its gauge speaks of the whole ledger.
    await sendOne(daemon, request++, context)
    await expectBalance(daemon)
    say(`killed at ${steps.length} steps of ${part}: stored after ${recoveryMs.join(', ')} ms`)
    await daemon.kill('SIGTERM')
    await expectLedger(stateOf(daemon, undefined), (request - 1) * SPANS)
  },
)

const SPANS = 20

/** Where the table of spans logs tokens. */
function tokenLog(directory: string): string {
  const store = join(directory, 'clickhouse')
  const logs = readdirSync(store, { recursive: true, encoding: 'utf8' }).filter((name) =>
    /otel_traces\/deduplication_logs\/deduplication_log_\d+\.txt$/.test(name),
  )
  return join(store, logs[0] ?? 'no token log')
}

/** Sends one request, waits until it is stored and says how exactly. */
async function sendOne(daemon: Daemon, request: number, { onTestFinished }: TestContext): Promise<unknown> {
  const endpoint = (): string => daemon.endpoints.grpc
  const sender: LedgerSender = startSender({
    endpoint,
    senders: 1,
    spansPerRequest: SPANS,
    firstRequest: request,
    requests: 1,
  })
  onTestFinished(() => sender.abort())
  await sender.progress(1)
  await sender.finish()
  const from = `(SELECT * FROM otel_traces WHERE TraceId = '${traceId(request)}')`
  const { lost, doubled, rows } = await reckon((sql) => daemon.query(sql), sender, { from })
  return { lost, doubled, rows }
}

interface Trap {
  /** How the store process ended; empty when it did not. */
  readonly sprung: Promise<string>
}

/** Resolves once a tracer holds the store process. */
async function armed(daemon: Daemon, step: Step): Promise<Trap> {
  // The one killed last may have stored the range before it died: its successor is the one to trace.
  await daemon.query('SELECT 1')
  const pid = daemon.storePid() ?? 0
  const only = step.path === undefined ? [] : ['-P', step.path(daemon.directory)]
  const kill = (): Promise<Tracer> => trace(pid, [...only, ...inject(step.calls, 'KILL', step.nth)])
  if (step.afterInsert !== true) return { sprung: killedBy(await kill()) }
  const stopper = await trace(pid, inject(UNLINKS, 'STOP', 1))
  const sprung = async (): Promise<string> => {
    await stopper.said('stopped by SIGSTOP')
    await stopper.detach()
    const killer = await kill()
    process.kill(pid, 'SIGCONT')
    return killedBy(killer)
  }
  return { sprung: sprung() }
}

function inject(calls: string, signal: string, nth: number): string[] {
  return ['-e', `trace=${calls}`, '-e', `inject=${calls}:signal=${signal}:when=${nth}`]
}

async function killedBy(tracer: Tracer): Promise<string> {
  // It goes with what it traces; told to detach in that moment it would hold on to the dead.
  await tracer.gone()
  return tracer.heard('killed by SIGKILL') ? 'SIGKILL' : 'nothing'
}

interface Tracer {
  /** Rejects when it is not said in time. */
  said(what: string): Promise<void>
  heard(what: string): boolean
  detach(): Promise<void>
  /** Resolves when it has ended by itself, or was ended because nothing happened. */
  gone(): Promise<void>
}

const SAID_MS = 60_000

/** Resolves once strace is attached. */
async function trace(pid: number, args: readonly string[]): Promise<Tracer> {
  const tracer = spawn('strace', ['-f', '-p', String(pid), ...args], { stdio: ['ignore', 'ignore', 'pipe'] })
  const exit = once(tracer, 'exit')
  const lines = createInterface({ input: tracer.stderr })
  const log: string[] = []
  lines.on('line', (line) => log.push(line))
  const heard = (what: string): boolean => log.some((line) => line.includes(what))
  const attaching = AbortSignal.timeout(SAID_MS)
  while (!heard('attached')) await once(lines, 'line', { signal: attaching })
  return {
    async said(what) {
      const deadline = AbortSignal.timeout(SAID_MS)
      while (!heard(what) && !deadline.aborted) {
        await once(lines, 'line', { signal: deadline }).catch(() => undefined)
      }
      if (!heard(what)) throw new Error(`strace did not say "${what}":\n${log.join('\n')}`)
    },
    heard,
    async gone() {
      const timer = setTimeout(() => tracer.kill('SIGKILL'), SAID_MS)
      await exit
      clearTimeout(timer)
    },
    async detach() {
      tracer.kill('SIGINT')
      await exit
    },
  }
}
