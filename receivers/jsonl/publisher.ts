import { hash } from 'node:crypto'
import type { AgentRuns } from '../../pipeline/agent/agent-runs.ts'
import type { CheckedEvent } from '../../pipeline/agent/check.ts'
import { groupByRun } from '../../pipeline/agent/group.ts'
import type { Admitted, Entry, Head } from '../../pipeline/admission.ts'
import type { BatchMeta } from '../../pipeline/batch/batch.ts'
import { decodeBatch } from '../../pipeline/batch/otlp-batch.ts'
import { ACCEPTED, type Outcome } from '../../pipeline/consumer.ts'
import type { Context } from '../../pipeline/factory.ts'
import { Fault, faultOf, messageOf, reject, retry, type FaultCode } from '../../pipeline/fault.ts'
import { publish } from '../../pipeline/publish-rest.ts'
import { sleep } from '../../pipeline/sleep.ts'
import type { JsonlConfig } from './config.ts'

/** One range on its way. The same parcel is the same batch, also after a restart. */
export interface Parcel {
  readonly bytes: Buffer
  readonly digest: Uint8Array
  readonly receivedAtMs: number
  /** WAL position from before the first attempt. */
  readonly since: string | undefined
  /** An earlier attempt may have been stored. */
  readonly repeated: boolean
}

/** These say that the sender, not the data, is wrong: the operator's to put right, and the file waits. */
const SENDER: ReadonlySet<FaultCode> = new Set([
  'UNAUTHENTICATED',
  'PERMISSION_DENIED',
  'NOT_FOUND',
  'CONFIG_INVALID',
  'STATE_VERSION',
])
const SENDER_PAUSE_MS = 10_000
/** A bug that meets the same bytes this often is taken for one that they cause. */
const BUG_ATTEMPTS = 3
/** The WAL knows a repeat by itself for 20 minutes. */
const UNKNOWN_AFTER_MS = 10 * 60_000

/** Delivers ranges and waits for as long as the pipeline does not take them. */
export class Publisher {
  readonly #config: JsonlConfig
  readonly #context: Context
  readonly #next: Entry
  readonly #runs: AgentRuns
  /** What all files wait for just now; logged once. */
  #trouble: string | undefined

  constructor(config: JsonlConfig, context: Context, next: Entry, runs: AgentRuns) {
    this.#config = config
    this.#context = context
    this.#next = next
    this.#runs = runs
  }

  async position(): Promise<string | undefined> {
    return this.#next.lookback?.position()
  }

  /**
   * Runs `work` until it succeeds, with bytes of the daemon's budget and an admission of its own each time. Throws a
   * Fault that is a final word on the data, LEASE_LOST, or CANCELLED once `signal` aborts.
   */
  async untilTaken<T>(
    path: string,
    bytes: number,
    signal: AbortSignal,
    work: (admitted: Admitted) => Promise<T>,
  ): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      if (signal.aborted) throw retry('CANCELLED', 'the receiver is stopping')
      try {
        const done = await this.#once(path, bytes, work)
        this.#well()
        return done
      } catch (error) {
        await this.#pause(error, attempt, signal)
      }
    }
  }

  async #once<T>(path: string, bytes: number, work: (admitted: Admitted) => Promise<T>): Promise<T> {
    const { intake } = this.#context
    intake.take(bytes)
    try {
      const admitted = await this.#next.admit(headOf(path, bytes, this.#config))
      try {
        return await work(admitted)
      } finally {
        admitted.release()
      }
    } finally {
      intake.give(bytes)
    }
  }

  async #pause(error: unknown, attempt: number, signal: AbortSignal): Promise<void> {
    const fault = faultOf(error)
    if (fault?.code === 'LEASE_LOST' || signal.aborted) throw error
    if (fault === undefined && attempt >= BUG_ATTEMPTS) {
      this.#context.log.error({ err: error }, 'lines that weir cannot handle')
      throw reject('BATCH_MALFORMED', 'weir failed on it', { cause: error })
    }
    const isFinal = fault?.verdict.do === 'reject'
    if (isFinal && !SENDER.has(fault.code)) throw error
    this.#ill(error)
    const { initial_interval: initial, max_interval: max } = this.#config.retry_on_failure
    const asked = fault?.verdict.do === 'retry' ? (fault.verdict.afterMs ?? 0) : isFinal ? SENDER_PAUSE_MS : 0
    const backoff = Math.min(max, initial * 1.5 ** Math.min(attempt - 1, 20))
    await sleep(Math.max(asked, backoff) * (1 + Math.random() / 2), signal)
  }

  #ill(error: unknown): void {
    const code = faultOf(error)?.code ?? 'a bug'
    if (this.#trouble === code) return
    this.#trouble = code
    this.#context.log.warn(
      { code, reason: messageOf(error) },
      'files wait: the pipeline does not take their lines',
    )
  }

  #well(): void {
    if (this.#trouble === undefined) return
    this.#trouble = undefined
    this.#context.log.info('files are read on')
  }

  /** Publishes once. Rejects with what the pipeline said. */
  async publish(parcel: Parcel, admitted: Admitted, signal: AbortSignal): Promise<Outcome> {
    const batch = decodeBatch(parcel.bytes, this.#meta(parcel, admitted))
    if (batch.rows === 0) return ACCEPTED
    return await publish(this.#next, batch, this.#unknownSince(parcel), signal)
  }

  /**
   * Numbers toon events and publishes them. `key` names the range: a repeat is known by it, and so is what the WAL took
   * of an attempt without an answer.
   */
  async append(
    events: readonly CheckedEvent[],
    key: string,
    bytes: Uint8Array,
    sender: Admitted,
  ): Promise<void> {
    const groups = groupByRun(sender.tenant, events)
    const body = hash('sha256', bytes, 'buffer')
    const source = `${this.#context.id}/file`
    await this.#runs.append({ sender, source, groups, key, body, opens: true })
  }

  /** Where to look for what an attempt without an answer has stored; undefined: there was none, or the WAL knows. */
  #unknownSince({ since, repeated, receivedAtMs }: Parcel): string | undefined {
    return repeated || this.#context.clock() - receivedAtMs > UNKNOWN_AFTER_MS ? since : undefined
  }

  #meta({ digest, receivedAtMs }: Parcel, { tenant, project, principal }: Admitted): BatchMeta {
    const source = `${this.#context.id}/file`
    return { signal: 'traces', tenant, project, principal, source, receivedAtMs, digest }
  }
}

function headOf(path: string, declaredBytes: number, { tenant, project }: JsonlConfig): Head {
  return {
    transport: 'file',
    peer: path,
    method: 'READ',
    path,
    header: () => [],
    tls: false,
    declaredBytes,
    owner: { tenant, project },
  }
}

/** True for a final word on the data, for which smaller parts are tried. */
export function isVerdict(error: unknown): error is Fault {
  return error instanceof Fault && error.verdict.do === 'reject' && !SENDER.has(error.code)
}
