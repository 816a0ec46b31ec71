import { envelopeOverhead, MAX_MEMBERS, type Member } from './envelope.ts'

/** A group this large takes no more members: beyond it a message costs by the byte, not by the piece. */
const CLOSE_BYTES = 256 * 1024
/** Largest message of several members. */
const JOINED_BYTES = 512 * 1024

/** Members of one tenant that become one message, and who waits for it. */
export class Group {
  readonly tenant: string
  readonly members: Member[] = []
  bytes = 0
  /** Of the members alone, without what the message adds. */
  payloadBytes = 0
  /** Settles with the message. */
  readonly durable: Promise<void>
  resolve!: () => void
  reject!: (error: unknown) => void

  constructor(tenant: string) {
    this.tenant = tenant
    this.durable = new Promise((resolve, reject) => {
      this.resolve = resolve
      this.reject = reject
    })
    // Every member's caller may have given up.
    this.durable.catch(() => undefined)
  }

  add(member: Member): void {
    this.members.push(member)
    this.bytes += envelopeOverhead(member) + member.bytes.length
    this.payloadBytes += member.bytes.length
  }

  takes(member: Member, maxBytes: number): boolean {
    const size = this.bytes + envelopeOverhead(member) + member.bytes.length
    return this.bytes < CLOSE_BYTES && size <= maxBytes && this.members.length < MAX_MEMBERS
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

  add(tenant: string, member: Member, maxBytes: number): Promise<void> {
    let group = this.#open.get(tenant)
    if (group === undefined || !group.takes(member, Math.min(maxBytes, JOINED_BYTES))) {
      group = new Group(tenant)
      this.#queue.push(group)
      this.#open.set(tenant, group)
    }
    group.add(member)
    return group.durable
  }

  shift(): Group | undefined {
    const group = this.#queue.shift()
    if (group !== undefined && this.#open.get(group.tenant) === group) this.#open.delete(group.tenant)
    return group
  }
}
