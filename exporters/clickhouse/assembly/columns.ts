import { Bytes } from '../../../proto/assembly/bytes'
import { Dictionary } from './dictionary'
import { Column, gather, gatherEnds, gatherStrings, orderElements } from './gather'
import { MapColumn } from './map'
import { order, sort } from './order'
import { Ranks } from './ranks'

/* The columns of the collector's exporter, and those that are taken from the same bytes. */
export const timestamps = new Column()
export const traceIds = new Column()
export const spanIds = new Column()
export const parentIds = new Column()
export const states = new Column()
export const names = new Dictionary()
export const kinds = new Dictionary()
export const services = new Dictionary()
/** Of resources and scopes each has a row of its own: `resourceRows` and `scopeRows` tell which is a span's. */
export const resources = new MapColumn()
export const scopeNames = new Column()
export const scopeVersions = new Column()
export const attributes = new MapColumn()
export const durations = new Column()
export const statuses = new Dictionary()
export const messages = new Column()
export const eventRows = new Column()
export const eventTimes = new Column()
export const eventNames = new Dictionary()
export const events = new MapColumn()
export const linkRows = new Column()
export const linkTraces = new Column()
export const linkSpans = new Column()
export const linkStates = new Column()
export const links = new MapColumn()
export const redactions = new Column()
export const violations = new Column()
export const eventIds = new Column()

export const resourceRows = new Column()
export const scopeRows = new Column()

const serviceRanks = new Ranks(services)
const nameRanks = new Ranks(names)

const STRINGS: StaticArray<Column> = [traceIds, spanIds, parentIds, states, messages]
const LINK_STRINGS: StaticArray<Column> = [linkTraces, linkSpans, linkStates]
const OTHERS: StaticArray<Column> = [
  timestamps,
  durations,
  scopeNames,
  scopeVersions,
  eventRows,
  eventTimes,
  linkRows,
  redactions,
  violations,
  eventIds,
  resourceRows,
  scopeRows,
]
const DICTIONARIES: StaticArray<Dictionary> = [names, kinds, services, statuses]
const MAPS: StaticArray<MapColumn> = [resources, attributes, events, links]

/** In the order that kernel.ts names them: a dictionary is its body, a map its row ends, its keys and its values. */
const PARTS: StaticArray<Bytes> = [
  timestamps.body,
  traceIds.body,
  spanIds.body,
  parentIds.body,
  states.body,
  names.body,
  kinds.body,
  services.body,
  resources.offsets.body,
  resources.keys.body,
  resources.values.body,
  scopeNames.body,
  scopeVersions.body,
  attributes.offsets.body,
  attributes.keys.body,
  attributes.values.body,
  durations.body,
  statuses.body,
  messages.body,
  eventRows.body,
  eventTimes.body,
  eventNames.body,
  events.offsets.body,
  events.keys.body,
  events.values.body,
  linkRows.body,
  linkTraces.body,
  linkSpans.body,
  linkStates.body,
  links.offsets.body,
  links.keys.body,
  links.values.body,
  redactions.body,
  violations.body,
  eventIds.body,
]

export function clearColumns(): void {
  for (let i = 0; i < STRINGS.length; i++) STRINGS[i].clear()
  for (let i = 0; i < LINK_STRINGS.length; i++) LINK_STRINGS[i].clear()
  for (let i = 0; i < OTHERS.length; i++) OTHERS[i].clear()
  for (let i = 0; i < DICTIONARIES.length; i++) DICTIONARIES[i].clear()
  eventNames.clear()
  for (let i = 0; i < MAPS.length; i++) MAPS[i].clear()
}

/** Makes the bodies, their rows in the order of the table's key. True where they came in another. */
export function finish(): bool {
  const isInOrder = sort(serviceRanks, nameRanks, timestamps)
  gather<u64>(timestamps, order)
  gather<u64>(durations, order)
  gather<u32>(redactions, order)
  gather<u32>(violations, order)
  gather<v128>(eventIds, order)
  for (let i = 0; i < STRINGS.length; i++) gatherStrings(STRINGS[i], order)
  for (let i = 0; i < DICTIONARIES.length; i++) DICTIONARIES[i].finish(order)
  attributes.finish(order)
  finishOwners()
  finishEvents()
  finishLinks()
  return !isInOrder
}

function finishOwners(): void {
  gather<u32>(resourceRows, order)
  resources.finish(resourceRows.body)
  gather<u32>(scopeRows, order)
  gatherStrings(scopeNames, scopeRows.body)
  gatherStrings(scopeVersions, scopeRows.body)
}

/** The order of events, and then of links. */
const elements = new Bytes()

function finishEvents(): void {
  gatherEnds(eventRows, order)
  orderElements(elements, eventRows, order)
  gather<u64>(eventTimes, elements)
  eventNames.finish(elements)
  events.finish(elements)
}

function finishLinks(): void {
  gatherEnds(linkRows, order)
  orderElements(elements, linkRows, order)
  for (let i = 0; i < LINK_STRINGS.length; i++) gatherStrings(LINK_STRINGS[i], elements)
  links.finish(elements)
}

export function start(part: i32): usize {
  return PARTS[part].start
}

export function length(part: i32): u32 {
  return PARTS[part].length
}

/** Besides resources and scopes. */
const LONG: StaticArray<Column> = [
  attributes.values,
  events.values,
  links.values,
  messages,
  states,
  linkStates,
]

/** Bytes in the columns that a sender can make long. */
export function longBytes(): u64 {
  let sum: u64 = 0
  for (let i = 0; i < LONG.length; i++) sum += LONG[i].length
  return sum
}
