import type { Kind } from '../pipeline/factory.ts'

/**
 * Types of the specification that are not built in yet, with the collector's names for them, so that a config that
 * uses one is told "not yet" rather than "unknown". A type that is in the registry wins over its line here.
 */
const RESERVED: Readonly<Record<Kind, readonly (readonly [type: string, ...aliases: string[]])[]>> = {
  receiver: [],
  processor: [
    ['sanitizer', 'redaction'],
    ['sampling', 'tail_sampling', 'probabilistic_sampler'],
  ],
  exporter: [],
  connector: [],
  extension: [],
  job: [],
}

/** The reserved type that `name` stands for, or undefined. */
export function reservedType(kind: Kind, name: string): string | undefined {
  return RESERVED[kind].find((names) => names.includes(name))?.[0]
}

/**
 * Accepted and left out, because nearly every collector config has them.
 * `batch`: weir batches in the WAL's writer and reader, where nothing is answered early (design section 3).
 */
export function noOpReason(kind: Kind, name: string): string | undefined {
  if (kind !== 'processor' || name !== 'batch') return undefined
  return 'accepted and left out: weir batches in the WAL, its writer and its reader, not in a processor'
}
