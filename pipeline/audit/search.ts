import type { StateStore } from '../state/state.ts'
import { parseLine, type AuditLine } from './line.ts'
import { linesBefore, readHead } from './reader.ts'

export interface AuditFilter {
  /** Id of the actor. */
  readonly actor?: string | undefined
  /** The whole, or up to a dot: `key` has `key.create`. */
  readonly action?: string | undefined
  readonly tenant?: string | undefined
  readonly outcome?: string | undefined
  readonly object?: string | undefined
  readonly sinceMs?: number | undefined
  readonly untilMs?: number | undefined
  /** Only entries of smaller numbers. */
  readonly before?: number | undefined
}

export interface Found {
  /** Newest first. */
  readonly entries: readonly AuditLine[]
  /** Where the search goes on (`before`); undefined: that is all there is. */
  readonly next: number | undefined
}

/** Lines that one call looks at: what matches little is found in several calls. */
const BUDGET = 100_000
/** Clocks of several daemons differ: a segment's times bound its entries' about. */
const SKEW_MS = 3_600_000

/** Reads the log from its newest entry back. */
export async function searchAudit(state: StateStore, filter: AuditFilter, limit: number): Promise<Found> {
  const read = await readHead(state)
  const entries: AuditLine[] = []
  if (read === undefined) return { entries, next: undefined }
  const { sinceMs = -Infinity, untilMs = Infinity, before = read.head.size + 1 } = filter
  let seen = 0
  const runs = linesBefore(
    state,
    read.head,
    before,
    (segment) =>
      Date.parse(segment.last_time) + SKEW_MS >= sinceMs &&
      Date.parse(segment.first_time) - SKEW_MS < untilMs,
  )
  for await (const { first, lines } of runs) {
    for (const [at, line] of [...lines.entries()].reverse()) {
      const entry = parseLine(line)
      if (entry !== undefined && matches(entry, filter)) entries.push(entry)
      if (entries.length >= limit || ++seen >= BUDGET) return { entries, next: first + at }
    }
  }
  return { entries, next: undefined }
}

function matches(entry: AuditLine, filter: AuditFilter): boolean {
  const { actor, action, tenant, outcome, object, sinceMs, untilMs } = filter
  const ms = Date.parse(entry.time)
  return (
    is(entry.actor.id, actor) &&
    (is(entry.action, action) || entry.action.startsWith(`${action}.`)) &&
    is(entry.tenant, tenant) &&
    is(entry.outcome, outcome) &&
    is(entry.object, object) &&
    (sinceMs === undefined || ms >= sinceMs) &&
    (untilMs === undefined || ms < untilMs)
  )
}

function is(value: string | undefined, wanted: string | undefined): boolean {
  return wanted === undefined || value === wanted
}
