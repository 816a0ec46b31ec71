import { randomUUID } from 'node:crypto'
import { AgentRuns } from '../../pipeline/agent/agent-runs.ts'
import { runsOptions } from '../../pipeline/agent/config.ts'
import type { Entry } from '../../pipeline/admission.ts'
import type { Receiver } from '../../pipeline/component.ts'
import type { Context } from '../../pipeline/factory.ts'
import { faultOf, messageOf } from '../../pipeline/fault.ts'
import { within } from '../../pipeline/net/within.ts'
import { sleep } from '../../pipeline/sleep.ts'
import { acquireLease } from '../../pipeline/state/lease.ts'
import type { LetterDesk } from '../../pipeline/wal/letter-desk.ts'
import type { JsonlConfig } from './config.ts'
import { LineLetters } from './letters.ts'
import { Watch } from './watch.ts'

/** After a failure that no file explains. */
const AGAIN_MS = 1000

/** Tails files for as long as it holds their lease: of many daemons that share a state store, one reads a file. */
export class JsonlReceiver implements Receiver {
  readonly #config: JsonlConfig
  readonly #context: Context
  readonly #next: Entry
  readonly #runs: AgentRuns
  readonly #stopping = new AbortController()
  readonly letterDesk: LetterDesk
  #running: Promise<void> | undefined

  constructor(config: JsonlConfig, context: Context, next: Entry) {
    this.#config = config
    this.#context = context
    this.#next = next
    this.letterDesk = new LineLetters(context, config.dead_letters.max_bytes).desk()
    this.#runs = new AgentRuns(context, next, runsOptions(config.runs))
  }

  async start(): Promise<void> {
    this.#runs.start()
    this.#running ??= this.#run()
  }

  /** Files stay where they are; what was under way and not answered by the deadline is repeated by the next start. */
  async stop(deadline: AbortSignal): Promise<void> {
    this.#stopping.abort()
    if (this.#running !== undefined) await within(deadline, undefined, this.#running)
    await this.#runs.stop(deadline)
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping
    while (!signal.aborted) {
      try {
        await this.#hold(signal)
      } catch (error) {
        const unexpected = faultOf(error) === undefined ? { err: error } : {}
        this.#context.log.warn(
          { reason: messageOf(error), ...unexpected },
          'files are read again from their checkpoints',
        )
        await sleep(AGAIN_MS * (1 + Math.random()), signal)
      }
    }
  }

  async #hold(stopping: AbortSignal): Promise<void> {
    const { state, id } = this.#context
    const name = `tail/${this.#config.instance}/${id}`
    const lease = await acquireLease(state, name, randomUUID(), { signal: stopping })
    if (lease === undefined) return
    const ended = new AbortController()
    const end = (): void => ended.abort()
    stopping.addEventListener('abort', end, { once: true })
    lease.lost.addEventListener('abort', end, { once: true })
    if (stopping.aborted || lease.lost.aborted) end()
    try {
      await new Watch(this.#config, this.#context, this.#next, this.#runs).run(ended.signal)
    } finally {
      stopping.removeEventListener('abort', end)
      lease.lost.removeEventListener('abort', end)
      await lease.release()
    }
  }
}
