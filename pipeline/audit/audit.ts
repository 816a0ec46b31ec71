/**
 * The audit log: who did, read or was refused what. One log for all daemons, append-only, hash-chained and signed
 * (`pipeline/audit/README.md`). What is written cannot be taken back: no content of events, no secrets, and of persons
 * only what the actor's own address and user agent say.
 */
export interface Audit {
  /**
   * Resolves with the entry's number once it is durable: await it before the data leaves, or before the change is
   * answered. Rejects with Fault AUDIT_UNAVAILABLE (retry), unless `when_unavailable: count` lets it pass: then it
   * resolves with 0; and with REQUEST_INVALID for an entry that is too large.
   */
  append(entry: AuditEntry): Promise<number>
  /** Somebody was refused. Never throws and is not waited for: written soon, and repeats of a minute as one entry. */
  refused(entry: AuditEntry): void
}

export interface AuditEntry {
  readonly actor: AuditActor
  /** What was done: `<thing>.<verb>` in snake_case, as `key.create`, `query.sql`, `retention.delete`. At most 64 characters. */
  readonly action: string
  /** To what: an id, a name, a path; never a value out of the data. Cut at 256 characters. */
  readonly object?: string
  /** Whose data or records; absent: of no tenant, or of all. */
  readonly tenant?: string
  readonly outcome: AuditOutcome
  /** `ip` of who asked. */
  readonly address?: string
  /** Cut at 256 characters. */
  readonly userAgent?: string
  /** Why it may be done with a person's data: `consent`, `gdpr-art17`, … */
  readonly legalBasis?: string
  /** Counts, ids, names of fields. JSON of at most 4 KiB. */
  readonly details?: AuditDetails
}

export interface AuditActor {
  /** Id of the key; `token/<n>`, the n-th of the API's config; name of the account on this machine; name of the job. */
  readonly id: string
  /** `local`: whoever uses this machine, `sender`: nobody who was known, `system`: weir by itself. */
  readonly kind: 'key' | 'token' | 'local' | 'sender' | 'job' | 'system'
}

/**
 * `begun`: written before a change is made; `ok` or `failed` follows, with the number of the beginning in
 * `details.begun`. `denied`: refused for who asked.
 */
export type AuditOutcome = 'ok' | 'begun' | 'failed' | 'denied'

export type AuditDetails = Readonly<Record<string, string | number | boolean | readonly string[]>>
