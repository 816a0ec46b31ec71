import type { ChildProcess } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import type { QueryRequest, QueryResult } from '../component.ts'
import { faultOf, messageOf, reject, retry } from '../fault.ts'
import { sleep } from '../sleep.ts'
import type { RepriceRequest, RepriceResult } from '../reprice.ts'
import type { MetricSnapshot } from '../telemetry/prom-meter.ts'
import type { Counter, Meter } from '../telemetry/meter.ts'
import type { Log } from '../telemetry/log.ts'
import { downHealth, forkStore, type StoreChild } from './forked.ts'
import type { StoreHealth, StoreMethods } from './protocol.ts'
import type { Rpc } from './rpc.ts'

export interface StoreProcessOptions {
  readonly log: Log
  readonly meter: Meter
  /** Forked already, for the first life. */
  readonly ahead?: StoreChild | undefined
  /** How often the process is asked whether it lives, and how long it may take to say so. */
  readonly watchMs?: number
  readonly hangMs?: number
}

/** It migrates ClickHouse, and waits for the one before to leave its directory. */
const START_TIMEOUT_MS = 300_000
const RELOAD_TIMEOUT_MS = 60_000
const REPRICE_MORE_MS = 120_000
const WATCH_MS = 10_000
const HANG_MS = 60_000
const RESTART_MIN_MS = 250
const RESTART_MAX_MS = 30_000
/** A child that lived this long has recovered: its next death is a first one. */
const HEALTHY_MS = 60_000
/** Left of a stop's time for the process to close its files and exit. */
const EXIT_MS = 500

/** Who waits for a process that runs this config. */
interface Waiter {
  readonly raw: unknown
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

/**
 * The store process as the main process sees it: forked, restarted with back-off when it dies, told of new data and
 * new config, asked for queries. Intake goes on while it is down (design section 1).
 */
export class StoreProcess {
  readonly #modulePath: string
  readonly #options: StoreProcessOptions
  readonly #restarts: Counter
  readonly #poked = new Set<string>()
  /** A child begins only when the one before has ended: it takes over its leases without waiting. */
  readonly #holder = randomUUID()
  #waiters: Waiter[] = []
  #stopping = new AbortController()
  #nap = new AbortController()
  #raw: unknown
  #ahead: StoreChild | undefined
  #child: ChildProcess | undefined
  #rpc: Rpc<StoreMethods> | undefined
  #trouble = 'the store process has not started yet'
  #loop: Promise<void> | undefined

  constructor(modulePath: string, options: StoreProcessOptions) {
    this.#modulePath = modulePath
    this.#options = options
    this.#ahead = options.ahead
    this.#child = options.ahead?.process
    this.#restarts = options.meter.counter('weir_store_process_restarts')
  }

  get pid(): number | undefined {
    return this.#child?.pid
  }

  /** Resolves once the first child has registered its cursors; rejects when it cannot, and then nothing runs. */
  async start(raw: unknown): Promise<void> {
    this.#raw = raw
    this.#stopping = new AbortController()
    const ready = this.#runs(raw)
    this.#loop = this.#keepRunning(this.#stopping.signal)
    try {
      await ready
    } catch (error) {
      await this.#loop
      this.#loop = undefined
      throw error
    }
  }

  #runs(raw: unknown): Promise<void> {
    return new Promise((resolve, reject) => this.#waiters.push({ raw, resolve, reject }))
  }

  #tell(tellWhom: (raw: unknown) => boolean, tell: (waiter: Waiter) => void): void {
    const told = this.#waiters.filter(({ raw }) => tellWhom(raw))
    this.#waiters = this.#waiters.filter((waiter) => !told.includes(waiter))
    for (const waiter of told) tell(waiter)
  }

  async #keepRunning(stopping: AbortSignal): Promise<void> {
    let wait = RESTART_MIN_MS
    let isFirst = true
    while (!stopping.aborted) {
      const raw = this.#raw
      const bornMs = performance.now()
      try {
        await this.#live(raw, () => {
          isFirst = false
          this.#tell(
            (wanted) => wanted === raw,
            (waiter) => waiter.resolve(),
          )
        })
      } catch (error) {
        this.#trouble = messageOf(error)
        this.#tell(
          (wanted) => wanted === raw,
          (waiter) => waiter.reject(error),
        )
        if (isFirst) break
      }
      if (stopping.aborted) break
      wait = performance.now() - bornMs > HEALTHY_MS ? RESTART_MIN_MS : Math.min(wait * 2, RESTART_MAX_MS)
      await this.#pauseBefore(wait, stopping)
    }
    this.#tell(
      () => true,
      (waiter) => waiter.reject(retry('SHUTTING_DOWN', 'the daemon is stopping')),
    )
  }

  async #pauseBefore(wait: number, stopping: AbortSignal): Promise<void> {
    const fields = { error: this.#trouble, retry_ms: wait }
    this.#options.log.error(fields, 'The store process ended. It will be started again')
    this.#restarts.add(1)
    this.#nap = new AbortController()
    const wake = (): void => this.#nap.abort()
    stopping.addEventListener('abort', wake)
    if (this.#waiters.length === 0) await sleep(wait * (0.5 + Math.random()), this.#nap.signal)
    stopping.removeEventListener('abort', wake)
  }

  /** One life of a child; resolves when it is over, rejects when it could not begin. */
  async #live(raw: unknown, onReady: () => void): Promise<void> {
    const { process: child, rpc, ended } = this.#ahead ?? forkStore(this.#modulePath)
    this.#ahead = undefined
    this.#child = child
    try {
      await rpc.call('start', { raw, holder: this.#holder }, START_TIMEOUT_MS)
    } catch (error) {
      const wentByItself = rpc.closed
      child.kill('SIGKILL')
      const how = await ended
      throw wentByItself
        ? reject('START_FAILED', `${how} before it was ready; its own words are above`)
        : error
    }
    const over = new AbortController()
    this.#rpc = rpc
    onReady()
    void this.#watch(child, rpc, over.signal)
    this.#trouble = await ended
    over.abort()
    this.#rpc = undefined
  }

  /** A process that does not answer stores nothing, and nobody would see it die. */
  async #watch(child: ChildProcess, rpc: Rpc<StoreMethods>, over: AbortSignal): Promise<void> {
    const { log, watchMs = WATCH_MS, hangMs = HANG_MS } = this.#options
    while (!over.aborted) {
      await sleep(watchMs, over)
      if (over.aborted) return
      const late = await rpc.call('health', null, hangMs).then(() => false, isTimeout)
      if (!late || rpc.closed) continue
      log.error({ pid: child.pid, hang_ms: hangMs }, 'The store process does not answer and is killed')
      child.kill('SIGKILL')
      return
    }
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

  /** Changes to `raw` (undefined: no store pipelines), or goes on as it was and throws. */
  async reload(raw: unknown): Promise<readonly string[]> {
    if (this.#loop === undefined) {
      if (raw === undefined) return []
      await this.start(raw)
      return ['process:store']
    }
    if (raw === undefined) {
      await this.stop(AbortSignal.timeout(RELOAD_TIMEOUT_MS), RELOAD_TIMEOUT_MS)
      return ['process:store']
    }
    const rpc = this.#rpc
    return rpc === undefined || rpc.closed ? this.#restartWith(raw) : this.#ask(rpc, raw)
  }

  async #ask(rpc: Rpc<StoreMethods>, raw: unknown): Promise<readonly string[]> {
    try {
      const { changed } = await rpc.call('reload', { raw }, RELOAD_TIMEOUT_MS)
      this.#raw = raw
      return changed
    } catch (error) {
      // It may still be at it: only a new process surely runs the old config.
      if (isTimeout(error)) this.#child?.kill('SIGKILL')
      throw error
    }
  }

  /** There is no process to ask: the next one starts with `raw`, at once. */
  async #restartWith(raw: unknown): Promise<readonly string[]> {
    const before = this.#raw
    this.#raw = raw
    const ready = this.#runs(raw)
    this.#child?.kill('SIGKILL')
    this.#nap.abort()
    try {
      await ready
      return ['process:store']
    } catch (error) {
      this.#raw = before
      throw error
    }
  }

  /** Back to `raw` after a reload that failed elsewhere; by a new process when this one cannot. */
  async insist(raw: unknown): Promise<void> {
    try {
      await this.reload(raw)
    } catch {
      this.#raw = raw
      this.#child?.kill('SIGKILL')
    }
  }

  query(request: QueryRequest): Promise<QueryResult> {
    if (this.#rpc === undefined) return Promise.reject(retry('EXPORT_UNAVAILABLE', this.#trouble, 1000))
    return this.#rpc.call('query', request, request.timeoutMs + 2000)
  }

  /** Bounded by the request's own budget and a statement or two. */
  reprice(request: RepriceRequest): Promise<RepriceResult> {
    if (this.#rpc === undefined) return Promise.reject(retry('EXPORT_UNAVAILABLE', this.#trouble, 1000))
    return this.#rpc.call('reprice', request, request.budgetMs + REPRICE_MORE_MS)
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
    if (this.#rpc === undefined) return downHealth(this.#trouble)
    try {
      return await this.#rpc.call('health', null, 2000)
    } catch (error) {
      return downHealth(messageOf(error))
    }
  }

  /** Asks it to finish; past the deadline it is killed, which loses nothing: what is in flight stays frozen. */
  async stop(deadline: AbortSignal, leftMs: number): Promise<void> {
    this.#stopping.abort()
    this.#ahead = undefined
    const child = this.#child
    const kill = (): void => void child?.kill('SIGKILL')
    if (deadline.aborted || this.#rpc === undefined) kill()
    deadline.addEventListener('abort', kill, { once: true })
    const deadlineMs = Math.max(0, Math.floor(leftMs - EXIT_MS))
    await this.#rpc?.call('stop', { deadlineMs }, leftMs + 1000).catch((error: unknown) => {
      const fields = { error: messageOf(error) }
      this.#options.log.warn(
        fields,
        'The store process did not stop by itself: what was in flight is repeated',
      )
      kill()
    })
    await this.#loop
    deadline.removeEventListener('abort', kill)
    this.#loop = undefined
  }
}

function isTimeout(error: unknown): boolean {
  return faultOf(error)?.code === 'CANCELLED'
}
