import type { Fault } from '../fault.ts'
import { envelopeOverhead, MAX_MEMBERS, type Member } from './envelope.ts'

/** A group this large takes no more members: beyond it a message costs by the byte, not by the piece. */
const CLOSE_BYTES = 256 * 1024
/** Largest message of several members. */
const JOINED_BYTES = 512 * 1024

/** Told once, of a member whose message is durable, or of why it is not. */
export type Settled = (failure?: Fault) => void

/** Members of one tenant that become one message, and who waits for it. */
export class Group {
  readonly tenant: string
  readonly members: Member[] = []
  bytes = 0
  /** Of the members alone, without what the message adds. */
  payloadBytes = 0
  readonly #waiting: Settled[] = []

  constructor(tenant: string) {
    this.tenant = tenant
  }

  /** `size`: of the member in its message, at most. */
  add(member: Member, size: number, settled: Settled): void {
    this.members.push(member)
    this.#waiting.push(settled)
    this.bytes += size
    this.payloadBytes += member.bytes.length
  }

  takes(size: number, maxBytes: number): boolean {
    return this.bytes < CLOSE_BYTES && this.bytes + size <= maxBytes && this.members.length < MAX_MEMBERS
  }

  settle(failure?: Fault): void {
    for (const settled of this.#waiting) settled(failure)
  }
}

/** Messages to be written, oldest first. The newest of each tenant takes members until it is full or being written. */
export class Groups {
  #queue: Group[] = []
  readonly #open = new Map<string, Group>()

  get empty(): boolean {
    return this.#queue.length === 0
  }

  get first(): Group | undefined {
    return this.#queue[0]
  }

  add(tenant: string, member: Member, maxBytes: number, settled: Settled): void {
    const size = envelopeOverhead(member) + member.bytes.length
    let group = this.#open.get(tenant)
    if (group === undefined || !group.takes(size, Math.min(maxBytes, JOINED_BYTES))) {
      group = new Group(tenant)
      this.#queue.push(group)
      this.#open.set(tenant, group)
    }
    group.add(member, size, settled)
  }

  shift(): Group | undefined {
    const group = this.#queue.shift()
    if (group !== undefined && this.#open.get(group.tenant) === group) this.#open.delete(group.tenant)
    return group
  }
}
