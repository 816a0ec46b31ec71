import type { Kind } from '../pipeline/factory.ts'

/**
 * Types of the specification that are not built in yet, so that a config that uses one is told "not yet" rather than
 * "unknown". A type that is in the registry wins over its entry here.
 */
const RESERVED: Readonly<Partial<Record<Kind, readonly string[]>>> = {
  job: ['alerts', 'erasure'],
}

export function isReserved(kind: Kind, name: string): boolean {
  return RESERVED[kind]?.includes(name) === true
}

/** The type that does here what the collector's `name` does there, with keys of its own; or undefined. */
export function counterpartOf(kind: Kind, name: string): string | undefined {
  return kind === 'processor' && name === 'redaction' ? 'sanitizer' : undefined
}

/**
 * Accepted and left out, because nearly every collector config has them.
 * `batch`: weir batches in the WAL's writer and reader, where nothing is answered early (design section 3).
 */
export function noOpReason(kind: Kind, name: string): string | undefined {
  if (kind !== 'processor' || name !== 'batch') return undefined
  return 'accepted and left out: weir batches in the WAL, its writer and its reader, not in a processor'
}

const QUEUE_KEYS: Readonly<Record<string, string>> = {
  retry_on_failure: 'behind a WAL what fails is repeated without end, without one the sender repeats it',
  sending_queue: 'the WAL is the queue',
}

/** The same for keys: nearly every exporter of a collector config has them. */
export function noOpKeyReason(kind: Kind, key: string): string | undefined {
  const reason = kind === 'exporter' && Object.hasOwn(QUEUE_KEYS, key) ? QUEUE_KEYS[key] : undefined
  return reason === undefined ? undefined : `accepted and left out: ${reason}`
}
