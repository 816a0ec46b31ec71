import type { z } from 'zod'
import { reject, retry } from '../fault.ts'
import type { StateKey, StateStore } from '../state/state.ts'

/** Which record, for the store and for people. */
export interface Place<S extends z.ZodType> {
  readonly key: StateKey
  readonly schema: S
  /** `tenant acme` */
  readonly what: string
}

const TRIES = 20
/** Every daemon keeps all records in memory. */
const MAX_BYTES = 16 * 1024

/** Throws CONFLICT when there is one already, REQUEST_INVALID when a field is not as it must be. */
export async function createRecord<S extends z.ZodType>(
  state: StateStore,
  place: Place<S>,
  record: z.input<S>,
): Promise<z.output<S>> {
  const checked = checkedRecord(place, record)
  if ((await state.create(place.key, encode(checked))) === undefined) {
    throw reject('CONFLICT', `there is a ${place.what} already`)
  }
  return checked
}

/** Throws NOT_FOUND. */
export async function readRecord<S extends z.ZodType>(
  state: StateStore,
  place: Place<S>,
): Promise<z.output<S>> {
  const entry = await state.get(place.key)
  if (entry === undefined) throw reject('NOT_FOUND', `there is no ${place.what}`)
  return decode(place, entry.value)
}

/** One compare-and-set; tried again when somebody else was first. Throws NOT_FOUND. */
export async function changeRecord<S extends z.ZodType>(
  state: StateStore,
  place: Place<S>,
  edit: (record: z.output<S>) => z.input<S>,
): Promise<z.output<S>> {
  for (let tries = 0; tries < TRIES; tries++) {
    const entry = await state.get(place.key)
    if (entry === undefined) throw reject('NOT_FOUND', `there is no ${place.what}`)
    const checked = checkedRecord(place, edit(decode(place, entry.value)))
    if ((await state.update(place.key, encode(checked), entry.revision)) !== undefined) return checked
  }
  throw retry('STATE_UNAVAILABLE', `${place.what} is being changed by too many at once`)
}

function checkedRecord<S extends z.ZodType>(place: Place<S>, record: z.input<S>): z.output<S> {
  const result = place.schema.safeParse(record)
  if (result.success) {
    if (encode(result.data).length <= MAX_BYTES) return result.data
    throw reject('REQUEST_INVALID', `${place.what} would have more than ${MAX_BYTES} bytes`)
  }
  const [issue] = result.error.issues
  throw reject(
    'REQUEST_INVALID',
    `${place.what}: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'invalid'}`,
  )
}

function decode<S extends z.ZodType>(place: Place<S>, value: Uint8Array): z.output<S> {
  const record = decodeRecord(place.schema, value)
  if (record !== undefined) return record
  throw reject('STATE_VERSION', `${place.what} was written by another version of weir, or is damaged`)
}

/** Undefined for what is damaged or of another version. */
export function decodeRecord<S extends z.ZodType>(schema: S, value: Uint8Array): z.output<S> | undefined {
  try {
    return schema.safeParse(JSON.parse(Buffer.from(value).toString())).data
  } catch {
    return undefined
  }
}

function encode(record: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(record))
}
