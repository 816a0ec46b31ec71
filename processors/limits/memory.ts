import { memoryLimit, memoryUse, type MemoryUse } from '../../pipeline/process-memory.ts'
import type { Log } from '../../pipeline/telemetry/log.ts'
import type { LimitsConfig } from './config.ts'

const MIB = 1024 * 1024
/** The collector's default of `spike_limit_mib`. */
const SPIKE = 0.2
/** V8 ends the process at its heap limit, long before the machine's memory is used up. */
const HEAP_SOFT = 0.8
const HEAP_HARD = 0.9
/** The kernel ends a process when all of them have used up the memory there is. */
const ALL_SOFT = 0.8
const ALL_HARD = 0.9
const CHECK_MS = 1000

/** What to do: nothing; refuse new requests; give up those, too, that are being read. */
export type MemoryState = 'ok' | 'soft' | 'hard'

type Settings = Pick<
  LimitsConfig,
  'check_interval' | 'limit_mib' | 'spike_limit_mib' | 'limit_percentage' | 'spike_limit_percentage'
>

/** Looks at the process's memory every `check_interval`. */
export class MemoryGuard {
  readonly hardBytes: number
  readonly softBytes: number
  readonly #intervalMs: number
  readonly #log: Log
  readonly #read: () => MemoryUse
  readonly #totalBytes: number
  #timer: NodeJS.Timeout | undefined
  #state: MemoryState = 'ok'

  constructor(settings: Settings, log: Log, read: () => MemoryUse = memoryUse, totalBytes = memoryLimit()) {
    const { limit_mib: mib, limit_percentage: percent } = settings
    this.hardBytes = mib > 0 ? mib * MIB : (percent / 100) * totalBytes
    this.softBytes = this.hardBytes - spikeOf(settings, this.hardBytes, totalBytes)
    this.#intervalMs = settings.check_interval > 0 ? settings.check_interval : CHECK_MS
    this.#log = log
    this.#read = read
    this.#totalBytes = totalBytes
  }

  get state(): MemoryState {
    return this.#state
  }

  start(): void {
    if (this.hardBytes === 0) return
    this.look()
    this.#timer ??= setInterval(() => this.look(), this.#intervalMs).unref()
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  look(): void {
    const use = this.#read()
    const before = this.#state
    this.#state = this.#judge(use)
    if (this.#state === before) return
    const { residentBytes, allBytes, heapBytes } = use
    const fields = { resident_bytes: residentBytes, all_bytes: allBytes, heap_bytes: heapBytes }
    // The collector's words, which operators look for.
    if (this.#state === 'ok')
      this.#log.info(fields, 'Memory usage back within limits. Resuming normal operation.')
    else this.#log.warn(fields, `Memory usage is above ${this.#state} limit. Refusing data.`)
  }

  #judge({ residentBytes, allBytes, heapBytes, heapLimitBytes }: MemoryUse): MemoryState {
    const isOver = (own: number, all: number, heap: number) =>
      residentBytes > own || allBytes > all * this.#totalBytes || heapBytes > heap * heapLimitBytes
    if (isOver(this.hardBytes, ALL_HARD, HEAP_HARD)) return 'hard'
    return isOver(this.softBytes, ALL_SOFT, HEAP_SOFT) ? 'soft' : 'ok'
  }
}

function spikeOf(settings: Settings, hardBytes: number, totalBytes: number): number {
  const { limit_mib: mib, spike_limit_mib: spikeMib, spike_limit_percentage: spikePercent } = settings
  if (mib > 0) return spikeMib > 0 ? Math.min(hardBytes, spikeMib * MIB) : SPIKE * hardBytes
  return spikePercent > 0 ? Math.min(hardBytes, (spikePercent / 100) * totalBytes) : SPIKE * hardBytes
}
