import { POOL } from '../../proto/buffer-pool.ts'
import { decodeBatch } from '../batch/otlp-batch.ts'
import type { Batch, BatchMeta } from '../batch/batch.ts'
import { faultOf, messageOf } from '../fault.ts'
import type { StoreChain } from '../factory.ts'
import { addLedger, dropsToLedger, EMPTY_LEDGER, type Ledger } from './ledger.ts'
import type { RawRange, SourceMember } from './reader-source.ts'

/** One batch of a range after the processors. `first` is the index of its row 0 over all rows of the range. */
export interface PreparedBatch {
  readonly batch: Batch
  readonly members: readonly SourceMember[]
  readonly first: number
}

/** A span, or a member that is no OTLP, that goes to the dead letters whatever the destination says. */
export interface Refused {
  readonly member: SourceMember
  /** Row of the member; undefined: all of it. */
  readonly row: number | undefined
  readonly reason: string
}

export interface PreparedRange {
  readonly raw: RawRange
  readonly batches: readonly PreparedBatch[]
  readonly rows: number
  readonly live: number
  readonly refused: readonly Refused[]
  /** All spans of the range that are not live any more, `passed` being all of them. */
  readonly settled: Ledger
}

/** Decodes what was read and runs the chain's processors. Deterministic; throws their retry faults. */
export async function prepare(raw: RawRange, process: StoreChain['process']): Promise<PreparedRange> {
  const batches: PreparedBatch[] = []
  const refused: Refused[] = []
  let settled = addLedger(EMPTY_LEDGER, { passed: raw.spans, duplicate: raw.duplicates })
  let rows = 0
  let live = 0
  for (const group of groupAlike(raw.members)) {
    for (const { batch, members } of decodeGroup(group, refused)) {
      const rejected = await runProcessors(batch, members, process)
      refused.push(...rejected)
      settled = addLedger(settled, settledBy(batch, rejected.length))
      batches.push({ batch, members, first: rows })
      rows += batch.rows
      live += batch.live
    }
  }
  const undecoded = refused.reduce(
    (sum, one) => sum + (one.row === undefined ? one.member.member.spans : 0),
    0,
  )
  settled = addLedger(settled, { dead_lettered: undecoded })
  return { raw, batches, rows, live, refused, settled }
}

/** Gives back the memory of a range that nobody reads any more. */
export function release({ raw, batches }: PreparedRange): void {
  for (const { batch } of batches) batch.release()
  for (const { member } of raw.members) POOL.give(member.bytes.buffer)
}

/** Drops by reason; of those that are `rejected`, the named ones become dead letters and the others are only counted. */
function settledBy(batch: Batch, named: number): Ledger {
  const drops = batch.drops()
  const dead = Math.min(named, drops.get('rejected') ?? 0)
  const ledger = dropsToLedger(drops)
  return { ...ledger, dead_lettered: dead, invalid: ledger.invalid - dead }
}

/**
 * Neighbours that differ in nothing a processor or exporter can see become one batch: their bytes lie side by side,
 * and OTLP requests concatenate. One batch for each of thousands of 1-span requests would cost ten times the time.
 */
function groupAlike(members: readonly SourceMember[]): SourceMember[][] {
  const groups: SourceMember[][] = []
  for (const member of members) {
    const group = groups.at(-1)
    const last = group?.at(-1)
    if (group !== undefined && last !== undefined && alike(last, member)) group.push(member)
    else groups.push([member])
  }
  return groups
}

function alike(a: SourceMember, b: SourceMember): boolean {
  return (
    a.seq === b.seq &&
    a.row + a.member.spans === b.row &&
    a.member.receivedAtMs === b.member.receivedAtMs &&
    a.member.source === b.member.source &&
    a.member.principal === b.member.principal &&
    a.member.project === b.member.project &&
    a.member.bytes.byteOffset + a.member.bytes.length === b.member.bytes.byteOffset
  )
}

interface Decoded {
  readonly batch: Batch
  readonly members: readonly SourceMember[]
}

function decodeGroup(group: readonly SourceMember[], refused: Refused[]): Decoded[] {
  const [first] = group
  const last = group.at(-1)
  if (first === undefined || last === undefined) return []
  try {
    const { buffer, byteOffset } = first.member.bytes
    const end = last.member.bytes.byteOffset + last.member.bytes.length
    const batch = decodeBatch(Buffer.from(buffer, byteOffset, end - byteOffset), metaOf(first))
    return [{ batch, members: group }]
  } catch (error) {
    if (faultOf(error)?.verdict.do !== 'reject') throw error
    if (group.length > 1) return group.flatMap((member) => decodeGroup([member], refused))
    refused.push({ member: first, row: undefined, reason: messageOf(error) })
    return []
  }
}

export function metaOf({ member, tenant, seq, row }: SourceMember): BatchMeta {
  return {
    signal: 'traces',
    tenant,
    project: member.project,
    principal: member.principal,
    source: member.source,
    receivedAtMs: member.receivedAtMs,
    digest: member.digest,
    wal: { seq, row },
  }
}

/** What the processors reject; the rows are dropped. A processor that rejects the whole batch rejects its live rows. */
async function runProcessors(
  batch: Batch,
  members: readonly SourceMember[],
  process: StoreChain['process'],
): Promise<Refused[]> {
  const rejected = new Map<number, string>()
  try {
    const outcome = await process(batch)
    for (const { rows, reason } of outcome?.rejected ?? []) {
      for (const row of rows) if (!rejected.has(row)) rejected.set(row, reason)
    }
  } catch (error) {
    if (faultOf(error)?.verdict.do !== 'reject') throw error
    for (let row = 0; row < batch.rows; row++) if (batch.isLive(row)) rejected.set(row, messageOf(error))
  }
  for (const row of rejected.keys()) batch.drop(row, 'rejected')
  return Array.from(rejected, ([row, reason]) => ({ ...memberOf(members, row), reason }))
}

/** The member that holds a row of their common batch, and the row's place in it. */
export function memberOf(
  members: readonly SourceMember[],
  row: number,
): { readonly member: SourceMember; readonly row: number } {
  const first = members[0]?.row ?? 0
  const member = members.findLast((one) => one.row - first <= row)
  if (member === undefined) throw new RangeError(`row ${row} is in no member`)
  return { member, row: row - (member.row - first) }
}
