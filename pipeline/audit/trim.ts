import { createHash } from 'node:crypto'
import type { StateStore } from '../state/state.ts'
import type { Audit, AuditActor } from './audit.ts'
import type { Link } from './line.ts'
import { readSegments, readTrimmed } from './reader.ts'
import { encodeSegment, encodeTrimmed, linesOfSegment, segmentKey, TRIMMED, type Segment } from './records.ts'

export const TRIM = 'audit.trim'

export interface Trimmed {
  readonly segments: number
  readonly entries: number
  /** Time of the newest entry that was (or would be) removed; '' where there is none. */
  readonly until: string
}

/**
 * Removes ended segments whose newest entry is older than `beforeMs`. First an entry says so, with the hash of the last
 * one's closing record, which stays: the chain goes on from there. What a crash leaves undone the next call does.
 */
export async function trimAudit(
  state: StateStore,
  audit: Audit,
  beforeMs: number,
  by: { readonly actor: AuditActor; readonly dryRun?: boolean; readonly legalBasis?: string },
): Promise<Trimmed> {
  const segments = await readSegments(state)
  const done = await readTrimmed(state)
  const old = segments.filter((each) => each.segment > done && Date.parse(each.last_time) < beforeMs)
  // Only from the oldest on: what lies behind one that stays, stays.
  const run = old.filter((each, at) => each.segment === (old[0]?.segment ?? 0) + at)
  const last = run.at(-1)
  const entries = run.reduce((sum, each) => sum + each.size - each.first + 1, 0)
  const result = { segments: run.length, entries, until: last?.last_time ?? '' }
  if (by.dryRun === true) return result
  if (last !== undefined) {
    await audit.append({
      actor: by.actor,
      action: TRIM,
      object: `entries 1-${last.size}`,
      outcome: 'ok',
      ...(by.legalBasis !== undefined && { legalBasis: by.legalBasis }),
      details: { through: last.segment, record: digestOf(last), entries, until: last.last_time },
    })
    await state.put(TRIMMED, encodeTrimmed(last.segment))
  }
  await clear(state, segments, last?.segment ?? done)
  return result
}

async function clear(state: StateStore, segments: readonly Segment[], through: number): Promise<void> {
  for (const { segment } of segments) {
    if (segment > through) continue
    await state.forget(linesOfSegment(segment))
    if (segment < through) await state.delete(segmentKey(segment))
  }
}

export function digestOf(segment: Segment): string {
  return createHash('sha256').update(encodeSegment(segment)).digest('hex')
}

/** Which segment a `audit.trim` entry has let go, and its closing record's hash. */
export function trimOf({ details }: Link): readonly [segment: number, record: string] {
  return [Number(details?.['through'] ?? 0), String(details?.['record'] ?? '')]
}
