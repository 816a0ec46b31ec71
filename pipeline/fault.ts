/**
 * The one error type that crosses component boundaries. A Fault says what the caller should do next;
 * its code is stable, catalogued here once, and never reused (docs/errors.md is generated from this table).
 * Anything else that is thrown is a bug in weir.
 */

/** What the caller should do next. `retry`: the same bytes may succeed later. `reject`: they never will. */
export type Verdict = { readonly do: 'retry'; readonly afterMs?: number } | { readonly do: 'reject' }

/** code → one line for the operator. The wire statuses are in `status.ts`. */
export const FAULTS = {
  BATCH_MALFORMED: 'the request body is not valid OTLP',
  SANITIZER_FAILED: 'the sanitizer could not check a batch, so it is refused',
  BATCH_TOO_LARGE: 'the request is larger than the limit after decompression',
  SPAN_TOO_LARGE: 'one span is larger than a WAL message may be',
  ENCODING_UNSUPPORTED: 'the Content-Encoding or compression is not supported',
  EVENT_INVALID: 'an event does not have the form of one',
  EVENT_TOO_LARGE: 'an event, its payload or the batch of events is over its limit',
  RUN_EXISTS: 'there is a run of this id already',
  RUN_CLOSED: 'the run is finished and takes no more events',
  SEQ_CONFLICT: 'the run has an event of this number already',
  KEY_REUSED: 'the idempotency key was used for another request',
  UNAUTHENTICATED: 'the sender did not prove who it is',
  AUTH_UNAVAILABLE: 'what is needed to check a credential does not answer',
  PERMISSION_DENIED: 'the sender may not do this',
  RATE_LIMITED: 'the sender is over its rate or quota',
  OVERLOADED: 'the daemon holds, or its stores lag behind by, more than it may',
  WAL_FULL: 'the write-ahead log is at its limit and may drop nothing',
  WAL_UNAVAILABLE: 'the write-ahead log did not confirm the write',
  WAL_CORRUPT: 'a stored WAL message does not match its checksum',
  STATE_UNAVAILABLE: 'the state store did not answer',
  STATE_VERSION: 'a stored record was written by a newer version of weir',
  SECRET_UNREADABLE: 'a sealed secret cannot be opened with the master keys that are configured',
  AUDIT_UNAVAILABLE: 'what was asked could not be written to the audit log, so it is not done',
  LEASE_LOST: 'another daemon took over this cursor or job',
  EXPORT_UNAVAILABLE: 'the destination did not take the data now',
  EXPORT_REJECTED: 'the destination will never take this data',
  QUERY_REFUSED: 'the query is not one that may be run',
  QUERY_FAILED: 'ClickHouse refused or could not finish the query',
  NOT_FOUND: 'there is no such thing here',
  CONFLICT: 'there is one already, or somebody changed it meanwhile',
  REQUEST_INVALID: 'a field of the request is missing, unknown or out of its range',
  DAEMON_UNREACHABLE: 'no daemon answers at the endpoint',
  CONFIG_INVALID: 'the configuration is not valid',
  START_FAILED: 'a component could not start',
  SHUTTING_DOWN: 'the daemon is stopping',
  CANCELLED: 'the caller gave up before the answer',
} as const

export type FaultCode = keyof typeof FAULTS

export class Fault extends Error {
  override readonly name = 'Fault'
  readonly code: FaultCode
  readonly verdict: Verdict

  constructor(code: FaultCode, message: string, verdict: Verdict, options?: ErrorOptions) {
    super(message, options)
    this.code = code
    this.verdict = verdict
  }
}

/** A Fault whose bytes may succeed later; `afterMs` is the least time worth waiting. */
export function retry(code: FaultCode, message: string, afterMs?: number, options?: ErrorOptions): Fault {
  return new Fault(code, message, afterMs === undefined ? { do: 'retry' } : { do: 'retry', afterMs }, options)
}

/** A Fault whose bytes will never succeed. */
export function reject(code: FaultCode, message: string, options?: ErrorOptions): Fault {
  return new Fault(code, message, { do: 'reject' }, options)
}

/** The Fault in `error`, or undefined when it is a bug or a platform error. */
export function faultOf(error: unknown): Fault | undefined {
  return error instanceof Fault ? error : undefined
}

/** The message of anything thrown, one line, for a log field or the cause of a Fault. */
export function messageOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error)
  return text.replace(/\s*[\r\n]+\s*/g, ' ')
}
