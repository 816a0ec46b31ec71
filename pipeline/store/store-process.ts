import { fork, type ChildProcess } from 'node:child_process'
import type { QueryRequest, QueryResult } from '../component.ts'
import { retry, messageOf } from '../fault.ts'
import { sleep } from '../sleep.ts'
import type { MetricSnapshot } from '../telemetry/prom-meter.ts'
import type { Counter, Meter } from '../telemetry/meter.ts'
import type { Log } from '../telemetry/log.ts'
import type { StoreHealth, StoreMethods } from './protocol.ts'
import { Rpc, type Channel } from './rpc.ts'

const START_TIMEOUT_MS = 60_000
const RELOAD_TIMEOUT_MS = 60_000
const RESTART_MIN_MS = 250
const RESTART_MAX_MS = 30_000
/** A child that lived this long has recovered: its next death is a first one. */
const HEALTHY_MS = 60_000

/**
 * The store process as the main process sees it: forked, restarted with back-off when it dies, told of new data and
 * new config, asked for queries. Intake goes on while it is down (design section 1).
 */
export class StoreProcess {
  readonly #modulePath: string
  readonly #log: Log
  readonly #restarts: Counter
  readonly #stopping = new AbortController()
  #raw: unknown
  #child: ChildProcess | undefined
  #rpc: Rpc<StoreMethods> | undefined
  #trouble: string | undefined = 'the store process has not started yet'
  #loop: Promise<void> = Promise.resolve()
  readonly #poked = new Set<string>()

  constructor(modulePath: string, { log, meter }: { readonly log: Log; readonly meter: Meter }) {
    this.#modulePath = modulePath
    this.#log = log
    this.#restarts = meter.counter('weir_store_process_restarts')
  }

  /** Resolves once the first child has registered its cursors; rejects when it cannot. */
  start(raw: unknown): Promise<void> {
    this.#raw = raw
    return new Promise((resolve, reject) => {
      this.#loop = this.#keepRunning(resolve, reject)
    })
  }

  async #keepRunning(onReady: () => void, onFailed: (error: unknown) => void): Promise<void> {
    let wait = RESTART_MIN_MS
    let isFirst = true
    while (!this.#stopping.signal.aborted) {
      const bornMs = performance.now()
      try {
        await this.#runOnce(() => {
          isFirst = false
          onReady()
        })
      } catch (error) {
        if (isFirst) return onFailed(error)
        this.#trouble = messageOf(error)
      }
      if (this.#stopping.signal.aborted) return
      wait = performance.now() - bornMs > HEALTHY_MS ? RESTART_MIN_MS : Math.min(wait * 2, RESTART_MAX_MS)
      this.#log.error(
        { error: this.#trouble, retry_ms: wait },
        'The store process ended. It will be started again',
      )
      this.#restarts.add(1)
      await sleep(wait * (0.5 + Math.random()), this.#stopping.signal)
    }
  }

  /** One life of a child; resolves or rejects when it is over. */
  async #runOnce(onReady: () => void): Promise<void> {
    const child = fork(this.#modulePath, [], {
      serialization: 'advanced',
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    this.#child = child
    const ended = new Promise<string>((resolve) => {
      child.once('exit', (code, signal) => resolve(`the store process ended (${signal ?? `code ${code}`})`))
      child.once('error', (error) => resolve(`the store process could not be started: ${messageOf(error)}`))
    })
    const rpc = new Rpc<StoreMethods>(channelOf(child), {})
    try {
      await rpc.call('start', { raw: this.#raw }, START_TIMEOUT_MS)
    } catch (error) {
      child.kill('SIGKILL')
      await ended
      throw error
    }
    this.#rpc = rpc
    this.#trouble = undefined
    onReady()
    this.#trouble = await ended
    this.#rpc = undefined
  }

  /** Coalesced per event-loop turn: at high rates a poke per message would cost more than the message. */
  poke(connector: string): void {
    if (this.#poked.size === 0) setImmediate(() => this.#sendPokes())
    this.#poked.add(connector)
  }

  #sendPokes(): void {
    for (const connector of this.#poked) this.#rpc?.notify('poke', { connector })
    this.#poked.clear()
  }

  async reload(raw: unknown): Promise<readonly string[]> {
    const { changed } = await this.#running().call('reload', { raw }, RELOAD_TIMEOUT_MS)
    this.#raw = raw
    return changed
  }

  query(request: QueryRequest): Promise<QueryResult> {
    return this.#running().call('query', request, request.timeoutMs + 2000)
  }

  /** Undefined while it is down. */
  async metrics(): Promise<MetricSnapshot | undefined> {
    try {
      return await this.#rpc?.call('metrics', null, 2000)
    } catch {
      return undefined
    }
  }

  async health(): Promise<StoreHealth> {
    if (this.#rpc === undefined) return this.#down(this.#trouble ?? 'the store process is starting')
    try {
      return await this.#rpc.call('health', null, 2000)
    } catch (error) {
      return this.#down(messageOf(error))
    }
  }

  #down(why: string): StoreHealth {
    return {
      components: [
        {
          name: 'process:store',
          group: 'extensions',
          status: 'StatusRecoverableError',
          error: why,
          sinceMs: Date.now(),
        },
      ],
      degraded: [`process:store: ${why}`],
    }
  }

  #running(): Rpc<StoreMethods> {
    if (this.#rpc === undefined)
      throw retry('EXPORT_UNAVAILABLE', this.#trouble ?? 'the store process is starting', 1000)
    return this.#rpc
  }

  /** Asks it to finish; past the deadline it is killed, which loses nothing: what is in flight stays frozen. */
  async stop(deadline: AbortSignal, deadlineMs: number): Promise<void> {
    this.#stopping.abort()
    const child = this.#child
    const kill = (): void => void child?.kill('SIGKILL')
    if (deadline.aborted) kill()
    deadline.addEventListener('abort', kill, { once: true })
    await this.#rpc?.call('stop', { deadlineMs }, deadlineMs + 1000).catch(() => kill())
    if (this.#rpc === undefined) kill()
    await this.#loop
  }
}

function channelOf(child: ChildProcess): Channel {
  return {
    send: (message) => {
      if (child.connected) child.send(message as object, () => undefined)
    },
    onMessage: (listener) => void child.on('message', listener),
    onClose: (listener) => void child.once('disconnect', listener),
  }
}
