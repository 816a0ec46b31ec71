import { createHash } from 'node:crypto'
import pino from 'pino'
import { expect, it } from 'vitest'
import type { Admitted, Entry } from '../../pipeline/admission.ts'
import type { Batch } from '../../pipeline/batch/batch.ts'
import type { Receiver } from '../../pipeline/component.ts'
import { ACCEPTED, type Outcome } from '../../pipeline/consumer.ts'
import type { Context } from '../../pipeline/factory.ts'
import { reject, retry } from '../../pipeline/fault.ts'
import { NOBODY_KNOWN } from '../../pipeline/identity/view.ts'
import { ByteGate } from '../../pipeline/intake.ts'
import { Pressure } from '../../pipeline/pressure.ts'
import { NO_USAGE } from '../../pipeline/usage/usage.ts'
import { ListenerPool } from '../../pipeline/net/listener-pool.ts'
import type { StateStore } from '../../pipeline/state/state.ts'

/** What a sender was told about one request. */
export type Answer = 'accepted' | 'partial' | 'retry' | 'rejected'

export interface ReceiverRig {
  create(context: Context, next: Entry): Receiver
  /** Connects to the started receiver. `send` delivers one request with one span of that name. */
  sender(receiver: Receiver): { send(id: string): Promise<Answer>; close(): void }
  /** The id in a batch; default: the name of its span. */
  idOf?(batch: Batch): string
  /** For a receiver that keeps state. */
  openState?(): Promise<StateStore>
}

export interface ReceiverContextOptions {
  readonly intakeBytes?: number
  readonly state?: StateStore | undefined
  readonly log?: pino.Logger
}

/** A context for a receiver that is tested on its own, with a real listener pool and byte gate. */
export function receiverContext(id: string, options: ReceiverContextOptions = {}) {
  const listeners = new ListenerPool()
  const intake = new ByteGate(options.intakeBytes ?? 256 * 1024 * 1024)
  const ignore = { add() {}, set() {}, remove() {}, observe() {} }
  const context: Context = {
    id,
    kind: 'receiver',
    log: options.log ?? pino({ level: 'silent' }),
    meter: { counter: () => ignore, gauge: () => ignore, histogram: () => ignore },
    clock: Date.now,
    // Most receivers keep no state; touching it is a failure.
    state:
      options.state ??
      new Proxy({} as StateStore, {
        get: (_, name) => {
          throw new Error(`the receiver used state.${String(name)}`)
        },
      }),
    identity: NOBODY_KNOWN,
    listeners,
    intake,
    pressure: new Pressure(),
    usage: NO_USAGE,
  }
  return { context, listeners, intake }
}

/** Counts admissions that were not released. */
export class TestEntry implements Entry {
  readonly #consume: Entry['consume']
  admitted = 0
  released = 0

  constructor(consume: Entry['consume']) {
    this.#consume = consume
  }

  async admit(): Promise<Admitted> {
    this.admitted++
    return {
      tenant: 'default',
      project: '',
      principal: '',
      wantsDigest: false,
      verify: async () => {},
      release: () => void this.released++,
    }
  }

  consume(batch: Batch, signal: AbortSignal): Promise<Outcome> {
    return this.#consume(batch, signal)
  }
}

type Fate = 'accept' | 'retry' | 'reject' | 'partial'

/** The same id and try always meet the same fate, so a failure can be repeated. */
function fate(fates: readonly Fate[], id: string, attempt: number): Fate {
  const byte = createHash('sha256').update(`${id}/${attempt}`).digest()[0] ?? 0
  return fates[byte % fates.length] ?? 'accept'
}

/** Where ids ended, as the pipeline saw it. */
class Pipeline {
  readonly stored = new Map<string, number>()
  readonly dropped = new Map<string, number>()
  readonly #fates: readonly Fate[]
  readonly #slow: boolean
  readonly #idOf: (batch: Batch) => string
  readonly #attempts = new Map<string, number>()

  constructor(fates: readonly Fate[], slow: boolean, idOf: (batch: Batch) => string) {
    this.#fates = fates
    this.#slow = slow
    this.#idOf = idOf
  }

  async consume(batch: Batch): Promise<Outcome> {
    if (this.#slow) await new Promise((resolve) => setImmediate(resolve))
    const id = this.#idOf(batch)
    const attempt = (this.#attempts.get(id) ?? 0) + 1
    this.#attempts.set(id, attempt)
    const end = fate(this.#fates, id, attempt)
    if (end === 'retry') throw retry('WAL_UNAVAILABLE', 'not now', 1)
    count(end === 'accept' ? this.stored : this.dropped, id)
    if (end === 'reject') throw reject('BATCH_MALFORMED', 'never')
    return end === 'partial' ? { rejected: [{ rows: [0], reason: 'kit: rejected' }] } : ACCEPTED
  }
}

function count(map: Map<string, number>, id: string): void {
  map.set(id, (map.get(id) ?? 0) + 1)
}

const SENDERS = 4
const REQUESTS = 50

const PIPELINES: Readonly<Record<string, { fates: readonly Fate[]; slow?: boolean }>> = {
  'always accepts': { fates: ['accept'] },
  'sometimes says retry': { fates: ['accept', 'retry'] },
  'sometimes rejects': { fates: ['accept', 'reject'] },
  'sometimes rejects in part': { fates: ['accept', 'partial'] },
  'does all of it, slowly': { fates: ['accept', 'retry', 'reject', 'partial'], slow: true },
}

/** The promises every receiver keeps (after the collector's receivertest contract checker). */
export function receiverContract(name: string, rig: ReceiverRig): void {
  for (const [what, { fates, slow }] of Object.entries(PIPELINES)) {
    it(`${name}: each span ends accepted or refused exactly once when the pipeline ${what}`, async () => {
      const pipeline = new Pipeline(fates, slow ?? false, (batch) => rig.idOf?.(batch) ?? batch.name(0))
      const entry = new TestEntry((batch) => pipeline.consume(batch))
      const state = await rig.openState?.()
      const { context, listeners, intake } = receiverContext(name, { state })
      const receiver = rig.create(context, entry)
      await receiver.start?.()
      const told = await Promise.all(
        Array.from({ length: SENDERS }, (_, n) => sendAll(rig, receiver, `s${n}`)),
      )
      await receiver.stop?.(AbortSignal.timeout(5000))
      await listeners.close()
      await state?.close()
      const accepted = told.flatMap((sender) => sender.accepted).sort()
      const refused = told.flatMap((sender) => sender.refused).sort()
      expect(accepted.length + refused.length).toBe(SENDERS * REQUESTS)
      expect([...pipeline.stored.keys()].sort()).toEqual(accepted)
      expect([...pipeline.dropped.keys()].sort()).toEqual(refused)
      expect(Math.max(0, ...pipeline.stored.values(), ...pipeline.dropped.values())).toBe(1)
      expect(entry.released).toBe(entry.admitted)
      expect(intake.held).toBe(0)
    })
  }

  it(`${name}: stop is safe before start, idempotent, and the receiver can be made and started again`, async () => {
    const state = await rig.openState?.()
    const { context, listeners } = receiverContext(name, { state })
    const entry = new TestEntry(async () => ACCEPTED)
    const deadline = AbortSignal.timeout(5000)
    await rig.create(context, entry).stop?.(deadline)
    for (let round = 0; round < 2; round++) {
      const receiver = rig.create(context, entry)
      await receiver.start?.()
      const sender = rig.sender(receiver)
      expect(await sender.send(`round ${round}`)).toBe('accepted')
      sender.close()
      await receiver.stop?.(deadline)
      await receiver.stop?.(deadline)
    }
    await listeners.close()
    await state?.close()
  })
}

async function sendAll(rig: ReceiverRig, receiver: Receiver, prefix: string) {
  const sender = rig.sender(receiver)
  const accepted: string[] = []
  const refused: string[] = []
  for (let n = 0; n < REQUESTS; n++) {
    const id = `${prefix}-${n}`
    let answer = await sender.send(id)
    while (answer === 'retry') answer = await sender.send(id)
    if (answer === 'accepted') accepted.push(id)
    else refused.push(id)
  }
  sender.close()
  return { accepted, refused }
}
