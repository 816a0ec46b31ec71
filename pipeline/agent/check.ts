import canonicalize from 'canonicalize'
import type { z } from 'zod'
import { messageOf } from '../fault.ts'
import { EventFault, type EventError } from './event-fault.ts'
import { toonEvent, type ToonEvent } from './event.ts'
import { KNOWN_META } from './meta.ts'
import { parseTime } from './time.ts'

/** Contract section 5. */
export interface EventLimits {
  readonly maxEvents: number
  readonly maxEventBytes: number
  readonly maxPayloadBytes: number
  readonly maxDepth: number
}

export const EVENT_LIMITS: EventLimits = {
  maxEvents: 200,
  maxEventBytes: 1024 * 1024,
  maxPayloadBytes: 512 * 1024,
  maxDepth: 64,
}

/** An event that has its form, and its payload as it will be stored. */
export interface CheckedEvent {
  readonly event: ToonEvent
  /** Canonical JSON (RFC 8785). */
  readonly payload: string
  /** `event.t`, Unix ns. */
  readonly atNs: bigint
  /** The name of a requested action, where state may not keep it as it came. */
  readonly keptAction?: string
}

/** Of a key that no event has: `field` is then the sender's text. */
export const UNKNOWN_KEY = 'is not a key here'

const MAX_ERRORS = 20
/** A character of a string is at most six bytes of JSON. */
const WORST = 6

/**
 * Checks parsed values for being events. Throws EventFault EVENT_INVALID with the index and field of each error, or
 * EVENT_TOO_LARGE.
 */
export function checkEvents(values: readonly unknown[], limits: EventLimits = EVENT_LIMITS): CheckedEvent[] {
  if (values.length > limits.maxEvents) {
    const message = `a request may have ${limits.maxEvents} events, this one has ${values.length}`
    throw new EventFault('EVENT_TOO_LARGE', [{ index: limits.maxEvents, field: '', message }])
  }
  const errors: EventError[] = []
  const checked: CheckedEvent[] = []
  for (const [index, value] of values.entries()) {
    const found = checkEvent(value, index, limits, errors)
    if (found !== undefined) checked.push(found)
  }
  if (errors.length > 0) {
    throw new EventFault(
      'EVENT_INVALID',
      errors.slice(0, MAX_ERRORS),
      Math.max(0, errors.length - MAX_ERRORS),
    )
  }
  return checked
}

function checkEvent(
  value: unknown,
  index: number,
  limits: EventLimits,
  errors: EventError[],
): CheckedEvent | undefined {
  // First of all: what follows recurses.
  const weight = weigh(value, limits.maxDepth, limits.maxEventBytes)
  if (weight > limits.maxEventBytes) throw tooLarge(index, '', weight, limits.maxEventBytes)
  if (weight < 0) {
    errors.push({ index, field: '', message: `is nested deeper than ${limits.maxDepth} levels` })
    return undefined
  }
  const result = toonEvent.safeParse(value)
  if (!result.success) {
    errors.push(...result.error.issues.flatMap((issue) => errorsOf(issue, index)))
    return undefined
  }
  const event = value as ToonEvent
  const payload = canonical(event.payload, index, 'payload', errors)
  if (payload === undefined) return undefined
  if (hasOtherMeta(event) && canonical(event.meta, index, 'meta', errors) === undefined) return undefined
  if (weight > limits.maxPayloadBytes / WORST) checkSizes(event, payload, index, limits)
  return { event, payload, atNs: parseTime(event.t) ?? 0n }
}

/** What is kept as canonical JSON. */
function hasOtherMeta({ meta }: ToonEvent): boolean {
  for (const key in meta) if (!KNOWN_META.has(key)) return true
  return false
}

/** Canonical JSON has no form for a lone surrogate. */
function canonical(value: unknown, index: number, field: string, errors: EventError[]): string | undefined {
  try {
    return canonicalize(value)
  } catch (error) {
    errors.push({ index, field, message: `has no canonical JSON (RFC 8785): ${messageOf(error)}` })
    return undefined
  }
}

function checkSizes(event: ToonEvent, payload: string, index: number, limits: EventLimits): void {
  const { maxPayloadBytes, maxEventBytes } = limits
  const payloadBytes = Buffer.byteLength(payload)
  if (payloadBytes > maxPayloadBytes) throw tooLarge(index, 'payload', payloadBytes, maxPayloadBytes)
  const bytes = Buffer.byteLength(JSON.stringify(event))
  if (bytes > maxEventBytes) throw tooLarge(index, '', bytes, maxEventBytes)
}

function tooLarge(index: number, field: string, bytes: number, limit: number): EventFault {
  return new EventFault('EVENT_TOO_LARGE', [
    { index, field, message: `has ${bytes} bytes, over the limit of ${limit}` },
  ])
}

function errorsOf(issue: z.core.$ZodIssue, index: number): EventError[] {
  const path = issue.path.map(String)
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({
      index,
      field: shorten([...path, key].join('.')),
      message: UNKNOWN_KEY,
    }))
  }
  return [{ index, field: shorten(path.join('.')), message: issue.message }]
}

/** A key is the sender's text and may be long. */
function shorten(field: string): string {
  return field.length <= 200 ? field : `${field.slice(0, 199)}…`
}

/** Whether a value of JSON.parse holds lists and objects within each other beyond `levels`. */
export function isDeeper(value: unknown, levels: number): boolean {
  return weigh(value, levels, Infinity) < 0
}

/**
 * At least the characters of the value as JSON, counted up to `limit`; −1: nested beyond `levels`. TOON can say a key
 * once and mean it a million times, so this is asked before anything is written out.
 */
function weigh(value: unknown, levels: number, limit: number): number {
  if (typeof value === 'string') return value.length
  if (typeof value !== 'object' || value === null) return 1
  if (levels === 0) return -1
  let weight = 2
  for (const key in value) {
    const inner = weigh((value as Record<string, unknown>)[key], levels - 1, limit - weight)
    if (inner < 0) return -1
    weight += inner + (Array.isArray(value) ? 1 : key.length + 3)
    if (weight > limit) return weight
  }
  return weight
}
