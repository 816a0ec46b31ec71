import type { Batch } from './batch/batch.ts'
import type { Consumer } from './consumer.ts'
import type { Refused } from './net/refusal.ts'

/** What is known of a request before its body is read. */
export interface Head {
  /** `file`: read by weir itself, as its operator configured; there is nobody to ask for credentials. */
  readonly transport: 'grpc' | 'http' | 'file'
  /** Remote address, `ip:port`; of a file its path. */
  readonly peer: string
  readonly method: string
  /** Path with query; for gRPC `/package.Service/Method`. */
  readonly path: string
  /** All values of a header or metadata key (lower case), in order; empty when absent. */
  header(name: string): readonly string[]
  /** Peer certificate facts when the connection is TLS with a verified client certificate. */
  readonly clientCertificate?: { readonly raw: Uint8Array; readonly subjectAltNames: readonly string[] }
  readonly tls: boolean
  /** Content-Length where the transport gives one. */
  readonly declaredBytes?: number
  /** Whose data this is by the receiver's own config; only where no sender could have said it (`file`). */
  readonly owner?: { readonly tenant: string; readonly project: string }
}

/** Who sends, as far as the processors before have found out. */
export interface Standing {
  readonly tenant: string
  readonly project: string
  readonly principal: string
}

/** What a processor's `admit` decides. Refusal is a thrown Fault. */
export interface Admission {
  readonly tenant?: string
  readonly project?: string
  readonly principal?: string
  /** Called with SHA-256 of the raw body, before it is inflated. Throws a Fault to refuse. */
  verify?(sha256: Uint8Array): void | Promise<void>
  /**
   * Checks the signature that one event of the request carries over its canonical JSON (RFC 8785, without the
   * signature). Throws a Fault to refuse. Absent: nobody here can check one.
   */
  verifyEvent?(canonical: Uint8Array, signature: string): void | Promise<void>
  /**
   * Called before bytes of the request are kept: its body as sent, then what it inflates to. Throws a Fault to refuse.
   * They are given back with `release`.
   */
  hold?(bytes: number): void
  /** Called once when the request has been answered, whatever the answer. */
  release?(): void
}

/** The admissions of a pipeline folded into one. Without `auth` the tenant is `default`. */
export interface Admitted extends Standing {
  /** True when some processor wants the digest of the raw body. */
  readonly wantsDigest: boolean
  verify(sha256: Uint8Array): Promise<void>
  /** Present when some processor checks the signatures of single events. */
  verifyEvent?(canonical: Uint8Array, signature: string): Promise<void>
  /** Present when some processor counts bytes. */
  hold?(bytes: number): void
  release(): void
}

/** Where a receiver delivers: `admit` before the body is read, `consume` after. */
export interface Entry extends Consumer {
  /** True when some processor refuses senders that do not prove who they are: a receiver may then bind beyond loopback. */
  readonly authenticated?: boolean
  /** A promise only where something has to be waited for: most requests are small, and each wait costs them. */
  admit(head: Head): Admitted | Promise<Admitted>
  /** Absent where no WAL stands behind the receiver: then nobody knows what became of a batch without an answer. */
  readonly lookback?: Lookback | undefined
  /**
   * Runs the processors that redact over what a receiver is about to keep besides batches, as a batch made for it. Absent:
   * nothing is redacted here. Rejects with the Fault of a processor that could not check it.
   */
  readonly redact?: ((batch: Batch) => Promise<void>) | undefined
  /**
   * A receiver tells of each request that it answers with a refusal: those that it refuses itself are counted here, those that
   * `admit` or `consume` has refused are counted already. Absent: nobody counts.
   */
  refused?(transport: Head['transport'], refused: Refused): void
}

/**
 * For a receiver that numbers or remembers what it publishes: it notes the position before it publishes, and when it
 * later finds its own note without an answer, asks what of that batch the WAL took.
 */
export interface Lookback {
  /** Everything published after this call lies behind the position returned. Opaque; kept across restarts. */
  position(): Promise<string>
  /**
   * The rows of the batch with this digest (`BatchMeta.digest`) that were stored behind `since`, as ranges in order;
   * empty: none. Reads the log from there. Rejects with a Fault (retry) when the log does not answer.
   */
  stored(tenant: string, digest: Uint8Array, since: string, signal: AbortSignal): Promise<readonly RowRange[]>
}

/** Rows `[first, end)` of a batch as it reached the WAL: those that processors took out are not counted. */
export interface RowRange {
  readonly first: number
  readonly end: number
  /** The batch ends here. */
  readonly last: boolean
}

/** Whether that is all of a batch: without a gap from its first row to its last. */
export function isWhole(stored: readonly RowRange[]): boolean {
  let end = 0
  for (const range of stored) {
    if (range.first > end) return false
    if (range.last) return true
    end = Math.max(end, range.end)
  }
  return false
}

/** Tenant ids become subjects and paths. */
export const TENANT = /^[a-z0-9][a-z0-9_-]{0,62}$/
