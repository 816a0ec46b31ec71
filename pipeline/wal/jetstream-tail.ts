import { JetStreamApiError, jetstream } from '@nats-io/jetstream'
import type { NatsConnection } from '@nats-io/transport-node'
import { messageOf } from '../fault.ts'
import { within } from '../state/deadline.ts'
import type { Log } from '../telemetry/log.ts'
import { encodeEnvelope } from './envelope.ts'
import { publishFault, unavailable } from './jetstream-faults.ts'
import { FILLER } from './jetstream-port.ts'

export interface TailOptions {
  readonly nc: NatsConnection
  readonly stream: string
  readonly subjectPrefix: string
  readonly log: Log
  readonly look: () => Promise<{ readonly lastSeq: number; readonly messages: number }>
  /** Makes `seq` the next one of an empty stream. */
  readonly skipTo: (seq: number) => Promise<void>
}

const TIMEOUT_MS = 5000
/** A question that went with a lost connection is asked again. */
const ASK_MS = 1000
/** Fillers in flight. */
const AT_ONCE = 500
/** An empty stream with more to fill was made anew: its sequence is moved. (That could take a message that another daemon has just written.) */
const MANY = 10_000
const WRONG_LAST_SEQUENCE = 10071

function soon<T>(answer: Promise<T>): Promise<T> {
  return within(ASK_MS, answer, () => unavailable('what was used of the stream is not known yet'))
}

/**
 * The end of the stream. nats-server that finds its newest block damaged or cut goes on from what is left and gives the lost sequences
 * again: readers that are behind them would never see the new messages, and what was stored under them would look like
 * theirs. So the places of lost messages are filled before anything is appended, each filler on the condition that it
 * comes right behind the one before.
 */
export class StreamTail {
  readonly #options: TailOptions
  #used: () => Promise<number> = async () => 0
  /** Highest sequence that was confirmed to us. */
  #confirmed = 0
  #isSound = true
  #mending: Promise<void> | undefined

  constructor(options: TailOptions) {
    this.#options = options
  }

  get isSound(): boolean {
    return this.#isSound
  }

  guard(used: () => Promise<number>): void {
    this.#used = used
    this.#isSound = false
  }

  /** The server may have been another one since. */
  doubt(): void {
    this.#isSound = false
  }

  /** False for a sequence that was confirmed for another message before. */
  confirmed(seq: number): boolean {
    if (seq <= this.#confirmed) return false
    this.#confirmed = seq
    return true
  }

  /** Resolves once what is appended next gets a sequence that none had before. */
  async mend(): Promise<void> {
    // What was found out before the last doubt says nothing.
    do await (this.#mending ??= this.#fill().finally(() => (this.#mending = undefined)))
    while (!this.#isSound)
  }

  async #fill(): Promise<void> {
    const { look, skipTo, stream, log } = this.#options
    this.#isSound = true
    try {
      const used = Math.max(this.#confirmed, await soon(this.#used()))
      let { lastSeq, messages } = await soon(look())
      if (lastSeq < used) {
        log.error(
          { stream, last_seq: lastSeq, used_seq: used },
          'JetStream has lost the end of the WAL; what no exporter had taken of it is lost',
        )
      }
      while (lastSeq < used) {
        if (messages === 0 && used - lastSeq > MANY) await skipTo(used + 1)
        else await this.#fillUpTo(lastSeq, Math.min(used, lastSeq + AT_ONCE))
        ;({ lastSeq, messages } = await look())
      }
    } catch (error) {
      this.#isSound = false
      throw error
    }
  }

  async #fillUpTo(lastSeq: number, upTo: number): Promise<void> {
    const { nc, stream, subjectPrefix } = this.#options
    const js = jetstream(nc, { timeout: TIMEOUT_MS })
    const body = Buffer.concat(encodeEnvelope([]))
    const places = Array.from({ length: upTo - lastSeq }, (_, at) => lastSeq + at)
    const answers = await Promise.allSettled(
      places.map((before) =>
        js.publish(`${subjectPrefix}${FILLER}`, body, {
          expect: { streamName: stream, lastSequence: before },
        }),
      ),
    )
    for (const answer of answers) {
      if (answer.status === 'fulfilled') continue
      const error: unknown = answer.reason
      if (!(error instanceof JetStreamApiError)) {
        throw unavailable(`the end of stream ${stream} could not be mended: ${messageOf(error)}`, error)
      }
      // Another daemon does the same.
      if (error.code === WRONG_LAST_SEQUENCE) return
      throw publishFault(stream, error.code, error.message)
    }
  }
}
