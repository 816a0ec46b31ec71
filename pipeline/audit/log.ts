import { setTimeout as delay } from 'node:timers/promises'
import { faultOf, messageOf, retry, type Fault } from '../fault.ts'
import type { StateKey } from '../state/state.ts'
import type { Log } from '../telemetry/log.ts'
import type { Meter } from '../telemetry/meter.ts'
import type { Audit, AuditEntry } from './audit.ts'
import { extended, type Moved } from './chain.ts'
import { fieldsOf, linkOf, type Fields } from './line.ts'
import { linesAfter, readHead } from './reader.ts'
import { blockKey, encodeHead, encodeSegment, HEAD, segmentKey, type Head } from './records.ts'
import { Refusals } from './refusals.ts'
import { openSigner, type Signer, type SignerPlace } from './signer.ts'

export interface AuditLogOptions extends SignerPlace {
  readonly log: Log
  readonly meter: Meter
  readonly clock: () => number
  /** How long an entry may try to get into the log. Default 5 s. */
  readonly deadlineMs?: number
  /** What cannot be written is counted and let pass. */
  readonly lenient?: boolean
  readonly refusalWindowMs?: number
}

/** Entries that wait together are written together; bounded, so that a commit stays far below a record's limit. */
const GROUP = 128
const GROUP_BYTES = 128 * 1024
const WAITING = 4096
const DEADLINE_MS = 5000
const BACKOFF_MS = 2

interface Waiting {
  readonly fields: Fields
  readonly bytes: number
  readonly resolve: (seq: number) => void
  readonly reject: (error: Error) => void
}

interface Known {
  readonly head: Head | undefined
  readonly revision: number
}

/** Appends by compare-and-set on the chain's head: of several daemons whoever is first, and the others behind it. */
export class AuditLog implements Audit {
  readonly #options: AuditLogOptions
  readonly #queue: Waiting[] = []
  #writing: Promise<void> | undefined
  /** What the head was after our last write; another daemon's write makes it stale, which costs one more turn. */
  #known: Known | undefined
  #signer: Promise<Signer | undefined> | undefined
  readonly #refusals: Refusals

  constructor(options: AuditLogOptions) {
    this.#options = options
    const write = (entry: AuditEntry): void => void this.append(entry).catch(() => undefined)
    this.#refusals = new Refusals(write, options.refusalWindowMs)
  }

  async append(entry: AuditEntry): Promise<number> {
    try {
      return await this.#append(entry)
    } catch (error) {
      if (this.#options.lenient === true && faultOf(error)?.code === 'AUDIT_UNAVAILABLE') return 0
      throw error
    }
  }

  refused(entry: AuditEntry): void {
    this.#refusals.note(entry)
  }

  #append(entry: AuditEntry): Promise<number> {
    return new Promise((resolve, reject) => {
      const fields = fieldsOf(entry, this.#options.clock())
      if (this.#queue.length >= WAITING) throw this.#unavailable('too many entries wait to be written')
      this.#queue.push({ fields, bytes: JSON.stringify(fields).length + 128, resolve, reject })
      this.#writing ??= this.#drain()
    })
  }

  /** Resolves when everything that was appended, and who was refused, is written or given up. */
  async stop(): Promise<void> {
    this.#refusals.flush()
    while (this.#writing !== undefined) await this.#writing
  }

  async #drain(): Promise<void> {
    await Promise.resolve()
    while (this.#queue.length > 0) await this.#write(this.#nextGroup())
    this.#writing = undefined
  }

  #nextGroup(): Waiting[] {
    let bytes = 0
    let count = 0
    for (const waiting of this.#queue.slice(0, GROUP)) {
      bytes += waiting.bytes
      if (count > 0 && bytes > GROUP_BYTES) break
      count++
    }
    return this.#queue.splice(0, count)
  }

  async #write(group: readonly Waiting[]): Promise<void> {
    const begun = performance.now()
    const { meter } = this.#options
    try {
      const first = await this.#commit(group.map(({ fields }) => fields))
      for (const [at, { fields, resolve }] of group.entries()) {
        meter.counter('weir_audit_entries').add(1, { outcome: fields.outcome })
        resolve(first + at)
      }
      meter.histogram('weir_audit_append_duration_seconds').observe((performance.now() - begun) / 1000)
    } catch (error) {
      meter.counter('weir_audit_failures').add(group.length)
      this.#options.log.error(
        { error: messageOf(error), entries: group.length },
        'The audit log cannot be written',
      )
      for (const { reject } of group) reject(this.#unavailable(messageOf(error), error))
    }
  }

  /** The number of the first entry. Tried until the deadline: an entry is either in the log or refused to its caller. */
  async #commit(entries: readonly Fields[]): Promise<number> {
    const deadline = performance.now() + (this.#options.deadlineMs ?? DEADLINE_MS)
    const signer = await this.#signedBy()
    // The log's size at the first write that was not answered: it may be done yet, also after it was looked for.
    let unanswered: number | undefined
    for (let tries = 0; ; tries++) {
      let tried: number | undefined
      try {
        const { head, revision } = (this.#known ??= await this.#load())
        const size = head?.size ?? 0
        const found = unanswered === undefined ? undefined : await this.#find(head, unanswered, entries)
        if (found !== undefined) return found
        const step = extended(head, entries, signer)
        if (step.moved !== undefined) await this.#move(step.moved)
        tried = size
        if (await this.#replace(step.head, revision)) return size + 1
      } catch (error) {
        this.#known = undefined
        unanswered ??= tried
        if (faultOf(error)?.verdict.do !== 'retry' || performance.now() >= deadline) throw error
      }
      await delay(Math.min(200, BACKOFF_MS * 2 ** Math.min(tries, 6)) * (0.5 + Math.random()))
    }
  }

  async #load(): Promise<Known> {
    return (await readHead(this.#options.state)) ?? { head: undefined, revision: 0 }
  }

  /** Of a write that was not answered: where its entries are, if it was done. */
  async #find(
    head: Head | undefined,
    after: number,
    entries: readonly Fields[],
  ): Promise<number | undefined> {
    if (head === undefined) return undefined
    for await (const { first, lines } of linesAfter(this.#options.state, head, after)) {
      const at = lines.findIndex((line) => linkOf(line)?.id === entries[0]?.id)
      if (at >= 0) return first + at
    }
    return undefined
  }

  async #move({ block, closed }: Moved): Promise<void> {
    await this.#keep(blockKey(block.segment, block.first), Buffer.from(block.lines.join('\n')))
    if (closed !== undefined) await this.#keep(segmentKey(closed.segment), encodeSegment(closed))
  }

  /** Written once. It may be there already, by us or by another daemon, and is then the same. */
  async #keep(key: StateKey, value: Buffer): Promise<void> {
    const { state } = this.#options
    if ((await state.create(key, value)) !== undefined) return
    const present = await state.get(key)
    if (present !== undefined && value.equals(present.value)) return
    throw retry('AUDIT_UNAVAILABLE', `${key} is not what the audit log has: see \`weir audit verify\``)
  }

  /** False when another daemon was first. */
  async #replace(head: Head, revision: number): Promise<boolean> {
    const { state } = this.#options
    const value = encodeHead(head)
    const written =
      revision === 0 ? await state.create(HEAD, value) : await state.update(HEAD, value, revision)
    this.#known = written === undefined ? undefined : { head, revision: written }
    return written !== undefined
  }

  async #signedBy(): Promise<Signer | undefined> {
    const { log } = this.#options
    this.#signer ??= openSigner(this.#options).then((signer) => {
      if (signer === undefined) {
        log.warn(
          'The audit log is chained but not signed: give the state extension a master_key, or audit.key_file',
        )
      }
      return signer
    })
    return this.#signer.catch((error: unknown) => {
      this.#signer = undefined
      throw error
    })
  }

  #unavailable(why: string, cause?: unknown): Fault {
    const known = faultOf(cause)
    if (known?.code === 'AUDIT_UNAVAILABLE') return known
    return retry('AUDIT_UNAVAILABLE', `the audit log cannot be written: ${why}`, 1000, { cause })
  }
}
