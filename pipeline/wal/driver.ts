import type { LogOwner } from './log-owner.ts'

/**
 * Where the WAL rests. A driver stores opaque messages in one totally ordered log with sequence numbers that only
 * grow; it knows nothing of envelopes, cursors or spans. Two drivers, one contract kit: `embedded` (LMDB) and
 * `jetstream` (NATS JetStream). Opened by several processes at once; each opens its own.
 */
export interface WalDriver {
  readonly kind: 'embedded' | 'jetstream'
  /** Connects, creates what is absent, checks what is there; Fault START_FAILED names what is wrong and the remedy. */
  open(): Promise<void>
  close(): Promise<void>
  /** Largest message `append` takes. Known after `open`. */
  readonly maxMessageBytes: number
  /**
   * Resolves with the sequence once the message is durable in this driver's mode. `id` makes the publisher's own
   * retry harmless. Rejects with WAL_FULL or WAL_UNAVAILABLE (retry); after WAL_UNAVAILABLE the message may or may not be stored.
   */
  append(message: OutgoingMessage): Promise<number>
  /** An independent position, starting at the first message with sequence ≥ `from`. */
  reader(from: number): WalPort
  info(): Promise<WalInfo>
  /** Whether the log still has a message with `from` ≤ sequence ≤ `to` to read: its word, where a reader only sees that none comes. */
  holds(from: number, to: number): Promise<boolean>
  /**
   * A log may lose its end (damaged files, a disk put back from a copy). No sequence up to what `used` tells is given to
   * another message then: it is asked before the first append, and by `jetstream` after each loss of the connection.
   */
  guard(used: () => Promise<number>): void
  /**
   * Records whose log it is, where that is not known yet; START_FAILED where it is another's. With `anyway` it becomes that owner's,
   * whose it was before: CONFLICT while another process has it open. `jetstream` has no place for such a record.
   */
  claim?(owner: LogOwner, anyway?: boolean): Promise<void>
  /** Deletes every message with sequence ≤ `upTo`. Idempotent. */
  trim(upTo: number): Promise<void>
  /** Deletes the messages of one tenant with sequence ≤ `upTo`. */
  purgeTenant(tenant: string, upTo: number): Promise<void>
  durability(): Durability
  /** A hint that something was appended by another process. */
  poke(): void
}

export interface OutgoingMessage {
  readonly signal: 'traces'
  readonly tenant: string
  /** Unique per message, stable over retries: `Nats-Msg-Id`. */
  readonly id: string
  /** Parts that are written one after another; avoids a copy where the driver can. */
  readonly parts: readonly Uint8Array[]
}

export interface WalMessage {
  readonly seq: number
  /** When the log took it, Unix ms. */
  readonly timeMs: number
  readonly signal: 'traces'
  readonly tenant: string
  /** The caller's own, for as long as he likes: no memory that is used again (unless he gives it to the pool) or holds more. */
  readonly bytes: Uint8Array
  /** Fills the place of one that the log has lost; its envelope has no members. */
  readonly lost?: true
}

export interface WalPort {
  /**
   * The next messages in order, at least one, at most about `maxBytes` (a larger single message comes alone).
   * Waits for one; resolves empty when `signal` aborts. Gaps in `seq` are purged messages.
   */
  next(maxBytes: number, signal: AbortSignal): Promise<WalMessage[]>
  /** Continue at the first message with sequence ≥ `from`. */
  seek(from: number): Promise<void>
  close(): Promise<void>
}

export interface WalInfo {
  /** First and last stored sequence; `lastSeq` is kept when the log is empty, then `firstSeq = lastSeq + 1`. */
  readonly firstSeq: number
  readonly lastSeq: number
  readonly messages: number
  readonly bytes: number
  readonly maxBytes: number
  /** Time of the oldest stored message, Unix ms; undefined when empty. */
  readonly oldestMs: number | undefined
}

/** What an acknowledgement survives, and how that is known. */
export interface Durability {
  readonly mode: 'process' | 'strict'
  readonly proof: string
}
