import { reject, retry } from '../../pipeline/fault.ts'
import { stateKey, type StateKey, type StateStore } from '../../pipeline/state/state.ts'
import type { Fingerprint } from './fingerprint.ts'

/** What is under way: written before it is published, so that after a crash exactly this is repeated. */
export interface Frozen {
  /** The range `[offset, to)` of the file's (decompressed) bytes. */
  readonly to: number
  /** Where the WAL was before; absent without one. */
  readonly since?: string
  /** The clock of the batch, so that a repeat decides alike. */
  readonly receivedAtMs: number
}

/** How far one file has been read. Holds no content. */
export interface Checkpoint {
  readonly v: 1
  /** Names the file in digests, whatever it is called. */
  readonly id: string
  /** Where it was seen last. */
  readonly path: string
  readonly dev: string
  readonly ino: string
  readonly fingerprint: Fingerprint
  readonly offset: number
  /** Hash of the bytes before `offset`: see `tailOf`. */
  readonly tail: string
  readonly seenMs: number
  readonly frozen?: Frozen
  /** Spans of lines before this offset are stored; toon events between them were refused and are tried in halves. */
  readonly spansUntil?: number
}

export interface Stored {
  readonly checkpoint: Checkpoint
  readonly revision: number
}

/** The positions of one receiver's files in the state store. */
export class Checkpoints {
  readonly #state: StateStore
  readonly #prefix: StateKey
  readonly #instance: string
  readonly #receiver: string

  constructor(state: StateStore, instance: string, receiver: string) {
    this.#state = state
    this.#instance = instance
    this.#receiver = receiver
    this.#prefix = stateKey('tail', instance, receiver, 'file')
  }

  async load(): Promise<Stored[]> {
    const entries = await this.#state.list(this.#prefix)
    return entries.map(({ value, revision }) => ({ checkpoint: parse(value), revision }))
  }

  /** True the first time ever; what is there then may be old. */
  async isFirstRun(): Promise<boolean> {
    return (await this.#state.get(this.#startedKey())) === undefined
  }

  async noteRun(): Promise<void> {
    await this.#state.put(this.#startedKey(), Buffer.from('{"v":1}'))
  }

  async create(checkpoint: Checkpoint): Promise<Stored> {
    const revision = await this.#state.create(this.#key(checkpoint.id), encode(checkpoint))
    if (revision === undefined) throw lost(checkpoint)
    return { checkpoint, revision }
  }

  /** Throws LEASE_LOST when another daemon has written it since. */
  async update(checkpoint: Checkpoint, revision: number): Promise<Stored> {
    const next = await this.#state.update(this.#key(checkpoint.id), encode(checkpoint), revision)
    if (next === undefined) throw lost(checkpoint)
    return { checkpoint, revision: next }
  }

  async remove({ checkpoint, revision }: Stored): Promise<void> {
    await this.#state.delete(this.#key(checkpoint.id), revision)
  }

  #key(id: string): StateKey {
    return stateKey('tail', this.#instance, this.#receiver, 'file', id)
  }

  #startedKey(): StateKey {
    return stateKey('tail', this.#instance, this.#receiver, 'started')
  }
}

function lost({ path }: Checkpoint) {
  return retry('LEASE_LOST', `another daemon reads ${path} under the same instance and receiver id`)
}

function encode(checkpoint: Checkpoint): Buffer {
  return Buffer.from(JSON.stringify(checkpoint))
}

function parse(value: Uint8Array): Checkpoint {
  const checkpoint = JSON.parse(Buffer.from(value).toString()) as Checkpoint
  if (checkpoint.v === 1) return checkpoint
  throw reject('STATE_VERSION', `a file position has format ${String(checkpoint.v)}; this weir reads up to 1`)
}
