import { hash } from 'node:crypto'
import { messageOf, retry } from '../../pipeline/fault.ts'
import { stateKey, type StateKey, type StateStore } from '../../pipeline/state/state.ts'
import type { Log } from '../../pipeline/telemetry/log.ts'

/**
 * Nonces that were used, of all daemons, through restarts. A nonce lies in the slot of the time that was signed with
 * it, so a replay looks in the same place. Slots are a ring: what is out of the window is emptied, by whoever comes by.
 *   nonce.<slot>.<SHA-256 of key, time and nonce>   (empty)
 */
const SLOT_MS = 600_000
const RING = 8
/** A signature is good for 10 minutes either way at most, so 3 slots are needed; one more for clocks that disagree. */
const LIVE = [-2, -1, 0, 1]
const SWEEP_MS = 60_000
/**
 * New ones per slot and daemon: about 1,600 signed requests a second. Over that only a tenant with less than its share
 * of them gets more, so that nobody's flood shuts others out; never more than twice as many in all.
 */
const MAX_PER_SLOT = 1_000_000
const EMPTY = new Uint8Array()

interface Signer {
  readonly tenant: string
  /** Of the secret. */
  readonly id: string
}

export class Nonces {
  readonly #state: StateStore
  readonly #log: Log
  readonly #clock: () => number
  #timer: NodeJS.Timeout | undefined
  readonly #maxPerSlot: number
  #slot = 0
  #used = 0
  readonly #usedBy = new Map<string, number>()

  constructor(state: StateStore, log: Log, clock: () => number, maxPerSlot = MAX_PER_SLOT) {
    this.#state = state
    this.#log = log
    this.#clock = clock
    this.#maxPerSlot = maxPerSlot
  }

  start(): void {
    void this.sweep()
    this.#timer = setInterval(() => void this.sweep(), SWEEP_MS).unref()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  /** False: it was used before. Rejects with a Fault (retry) when the store does not answer, or too many are in use. */
  async use({ tenant, id: key }: Signer, timeMs: number, nonce: string): Promise<boolean> {
    this.#count(tenant)
    const id = hash('sha256', `${key}\0${timeMs}\0${nonce}`, 'hex')
    const place = stateKey('nonce', ringOf(slotOf(timeMs)), id)
    return (await this.#state.create(place, EMPTY)) !== undefined
  }

  /** Empties the slots that no signature is good for any more. */
  async sweep(): Promise<void> {
    const now = slotOf(this.#clock())
    const live = new Set(LIVE.map((offset) => ringOf(now + offset)))
    try {
      for (let slot = 0; slot < RING; slot++) {
        if (!live.has(String(slot))) await this.#state.forget(slotKey(slot))
      }
    } catch (error) {
      this.#log.debug({ error: messageOf(error) }, 'old nonces were not removed; the next sweep will')
    }
  }

  #count(tenant: string): void {
    const slot = slotOf(this.#clock())
    if (slot !== this.#slot) {
      this.#slot = slot
      this.#used = 0
      this.#usedBy.clear()
    }
    const own = this.#usedBy.get(tenant) ?? 0
    this.#usedBy.set(tenant, own)
    const [max, used] = [this.#maxPerSlot, this.#used]
    if (used >= 2 * max || (used >= max && own >= max / this.#usedBy.size)) {
      throw retry('RATE_LIMITED', 'too many signed requests: send larger batches', SWEEP_MS)
    }
    this.#used++
    this.#usedBy.set(tenant, own + 1)
  }
}

function slotOf(ms: number): number {
  return Math.floor(ms / SLOT_MS)
}

function ringOf(slot: number): string {
  return String(((slot % RING) + RING) % RING)
}

function slotKey(slot: number): StateKey {
  return stateKey('nonce', String(slot))
}
