import { Backoff } from '../../pipeline/wal/reader-backoff.ts'
import { later, type Answer, type Transport } from './answer.ts'

interface Endpoint {
  readonly address: string
  transport: Transport
  /** Not asked before, unless no other is left. */
  restsUntilMs: number
  /** The server itself asked for that rest. */
  asked: boolean
  readonly backoff: Backoff
}

/** Servers of one destination: a request goes to one that is well, in turn or by rank, and to the next if it fails. */
export class Endpoints {
  readonly #all: readonly Endpoint[]
  readonly #inTurn: boolean
  readonly #clock: () => number
  #turn = 0

  constructor(
    transports: readonly (readonly [address: string, transport: Transport])[],
    inTurn: boolean,
    clock: () => number,
  ) {
    this.#inTurn = inTurn
    this.#clock = clock
    this.#all = transports.map(([address, transport]) => ({
      address,
      transport,
      restsUntilMs: 0,
      asked: false,
      backoff: new Backoff(500, 30_000),
    }))
  }

  /** `later` once every server has been asked that may be. */
  async send(request: Uint8Array, signal: AbortSignal): Promise<Answer> {
    let last: Answer | undefined
    for (const endpoint of this.#order()) {
      if (signal.aborted) return later('given up')
      const answer = await endpoint.transport.send(request, signal)
      if (answer.is !== 'later') {
        endpoint.restsUntilMs = 0
        endpoint.backoff.reset()
        return answer
      }
      if (signal.aborted) return answer
      endpoint.asked = answer.asked
      const restMs = answer.asked ? answer.afterMs : endpoint.backoff.nextMs()
      endpoint.restsUntilMs = this.#clock() + restMs
      last = { ...answer, message: `${endpoint.address}: ${answer.message}` }
    }
    return this.#soonest(last)
  }

  /** Replaces the ways by ones that trust other certificates. */
  replace(make: (address: string) => Transport): void {
    for (const endpoint of this.#all) {
      const before = endpoint.transport
      endpoint.transport = make(endpoint.address)
      before.close()
    }
  }

  close(): void {
    for (const { transport } of this.#all) transport.close()
  }

  #order(): Endpoint[] {
    const first = this.#inTurn ? this.#turn++ % this.#all.length : 0
    const ranked = [...this.#all.slice(first), ...this.#all.slice(0, first)]
    const now = this.#clock()
    const well = ranked.filter(({ restsUntilMs }) => restsUntilMs <= now)
    const resting = ranked.filter(({ restsUntilMs, asked }) => restsUntilMs > now && !asked)
    // Who did not ask to be left alone may be back.
    return [...well, ...resting]
  }

  #soonest(last: Answer | undefined): Answer {
    const asked = this.#all.filter((endpoint) => endpoint.asked && endpoint.restsUntilMs > this.#clock())
    const message = last?.message ?? `${asked[0]?.address ?? ''}: asked to be left alone`
    if (asked.length < this.#all.length) return later(message)
    return later(message, Math.min(...asked.map(({ restsUntilMs }) => restsUntilMs)) - this.#clock())
  }
}
