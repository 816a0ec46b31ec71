import { Bytes } from '../../../proto/assembly/bytes'
import { Dictionary } from './dictionary'
import { MapColumn } from './map'

/* The columns of the collector's exporter, and those that are taken from the same bytes. */
export const timestamps = new Bytes()
export const traceIds = new Bytes()
export const spanIds = new Bytes()
export const parentIds = new Bytes()
export const states = new Bytes()
export const names = new Dictionary()
export const kinds = new Dictionary()
export const services = new Dictionary()
export const resources = new MapColumn()
export const scopeNames = new Bytes()
export const scopeVersions = new Bytes()
export const attributes = new MapColumn()
export const durations = new Bytes()
export const statuses = new Dictionary()
export const messages = new Bytes()
export const eventRows = new Bytes()
export const eventTimes = new Bytes()
export const eventNames = new Dictionary()
export const events = new MapColumn()
export const linkRows = new Bytes()
export const linkTraces = new Bytes()
export const linkSpans = new Bytes()
export const linkStates = new Bytes()
export const links = new MapColumn()
export const redactions = new Bytes()
export const violations = new Bytes()
export const eventIds = new Bytes()

const DICTIONARIES: StaticArray<Dictionary> = [names, kinds, services, statuses, eventNames]
const MAPS: StaticArray<MapColumn> = [resources, attributes, events, links]

/** In the order that kernel.ts names them: a dictionary is its body, a map its row ends, its keys and its values. */
const PARTS: StaticArray<Bytes> = [
  timestamps,
  traceIds,
  spanIds,
  parentIds,
  states,
  names.body,
  kinds.body,
  services.body,
  resources.offsets,
  resources.keys.body,
  resources.values,
  scopeNames,
  scopeVersions,
  attributes.offsets,
  attributes.keys.body,
  attributes.values,
  durations,
  statuses.body,
  messages,
  eventRows,
  eventTimes,
  eventNames.body,
  events.offsets,
  events.keys.body,
  events.values,
  linkRows,
  linkTraces,
  linkSpans,
  linkStates,
  links.offsets,
  links.keys.body,
  links.values,
  redactions,
  violations,
  eventIds,
]

export function clearColumns(): void {
  for (let i = 0; i < PARTS.length; i++) PARTS[i].clear()
  for (let i = 0; i < DICTIONARIES.length; i++) DICTIONARIES[i].clear()
  for (let i = 0; i < MAPS.length; i++) MAPS[i].clear()
}

/** Makes the bodies of the dictionaries. */
export function finish(): void {
  for (let i = 0; i < DICTIONARIES.length; i++) DICTIONARIES[i].finish()
  for (let i = 0; i < MAPS.length; i++) MAPS[i].keys.finish()
}

export function start(part: i32): usize {
  return PARTS[part].start
}

export function length(part: i32): u32 {
  return PARTS[part].length
}

/** A resource and a scope are repeated for each of their spans. */
const LONG: StaticArray<Bytes> = [
  attributes.values,
  resources.values,
  events.values,
  links.values,
  messages,
  scopeNames,
  scopeVersions,
  states,
  linkStates,
]

/** Bytes in the columns that a sender can make long. */
export function longBytes(): u64 {
  let sum: u64 = 0
  for (let i = 0; i < LONG.length; i++) sum += LONG[i].length
  return sum
}
