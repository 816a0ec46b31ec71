/** Keys of `meta` that have a name or a use of their own; the others are kept together. */
export const KNOWN_META: ReadonlySet<string> = new Set([
  'run_id',
  'agent_id',
  'idempotency_key',
  'request_seq',
  'session_id',
  'user_id',
  'signature',
])
