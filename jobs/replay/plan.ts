import { cursorName } from '../../pipeline/factory.ts'
import { resolve, sep } from 'node:path'
import type { Archive, ArchivedRange } from '../../pipeline/archive/archive.ts'
import { filesAt } from '../../pipeline/archive/files.ts'
import { reject } from '../../pipeline/fault.ts'
import { headsOf, type Heads } from '../../pipeline/jobs/feeders.ts'
import type { ReplayRoute, Stores } from '../../pipeline/jobs/job.ts'
import type { Params } from './params.ts'

/** Clocks of senders may be ahead of ours. */
const AHEAD_MS = 86_400_000

/** What a run reads, decided at its beginning and kept in its checkpoint. */
export interface Plan {
  /** Messages of the WAL. */
  readonly log?: { readonly from: number; readonly to: number }
  /** As `archiveOf` takes it. */
  readonly archive?: ArchivePart
  /** How far the logs were when it began: what comes later is not the replay's. */
  readonly heads: Heads
  readonly notes: readonly string[]
}

export interface ArchivePart {
  readonly source: string
  /** Only what one cursor wrote of these messages. */
  readonly part?: ArchivedRange
}

export async function planOf(
  params: Params,
  stores: Stores,
  route: ReplayRoute,
  directories: readonly string[],
  signal: AbortSignal,
): Promise<Plan> {
  const heads = await headsOf(stores, route.feeders)
  const { source } = params
  if (source !== 'auto' && source !== 'wal') {
    archiveOf(source, stores, directories)
    return { archive: { source }, heads, notes: [] }
  }
  const first = params.from_seq ?? 1
  const last = Math.min(params.to_seq ?? Infinity, heads[route.log.connector] ?? 0)
  const early = Math.max(first, await earliest(params, route, signal))
  const there = await route.log.span()
  if (early > last) return { heads, notes: ['the WAL has taken nothing of that range yet'] }
  const log = { from: Math.max(early, there.first), to: last }
  if (log.from === first || there.first <= 1 || !reachesBack(params, there)) return { log, heads, notes: [] }
  if (source === 'wal') return { log, heads, notes: [`the WAL begins at sequence ${there.first} now`] }
  return { ...(await withArchive(params, stores, route, log, signal)), heads }
}

/** Messages that came before this one hold no span of the range. */
async function earliest({ from }: Params, route: ReplayRoute, signal: AbortSignal): Promise<number> {
  return from === undefined ? 1 : await route.log.seqAt(from - AHEAD_MS, signal)
}

/** Whether what is asked for may have come before the WAL's first message. */
function reachesBack(
  { from, from_seq: seq }: Params,
  there: { first: number; oldestMs: number | undefined },
) {
  if (seq !== undefined) return seq < there.first
  return from === undefined || there.oldestMs === undefined || from < there.oldestMs
}

/** The archive for what the WAL has no more: whole ranges of one cursor; the WAL for all that comes behind them. */
async function withArchive(
  params: Params,
  stores: Stores,
  route: ReplayRoute,
  log: { readonly from: number; readonly to: number },
  signal: AbortSignal,
): Promise<Omit<Plan, 'heads'>> {
  const before = `before sequence ${log.from} the WAL has nothing any more`
  for (const { id, exporter, pipelines } of stores.exporters()) {
    if (exporter.archive?.ranges === undefined) continue
    const cursors = pipelines.map((pipeline) => cursorName(pipeline, id))
    const mine = cursors.find((cursor) => cursor.startsWith(`${route.pipeline}/`)) ?? cursors[0] ?? ''
    let end = 0
    for await (const range of exporter.archive.ranges(signal)) {
      if (range.cursor === mine && range.from < log.from) end = Math.max(end, range.to)
    }
    if (end === 0) continue
    const from = Math.max(params.from_seq ?? 1, 1)
    const rest = { from: Math.max(log.from, end + 1), to: log.to }
    const gap = end + 1 < log.from ? [`${before}, and ${id} has nothing from ${end + 1} on`] : []
    return {
      ...(rest.from <= rest.to && { log: rest }),
      archive: { source: `s3:${id}`, part: { cursor: mine, from, to: rest.from - 1 } },
      notes: gap,
    }
  }
  return { log, notes: [`${before}, and no exporter's archive says what of it it has: name one as source`] }
}

/** The archive that `source` names. REQUEST_INVALID tells what may be named. */
export function archiveOf(source: string, stores: Stores, directories: readonly string[]): Archive {
  const named = /^(s3|file):(.+)$/.exec(source)
  if (named === null) return filesAt(allowed(source, directories))
  const [, type = '', id = ''] = named
  const found = stores
    .exporters()
    .find((one) => one.exporter.archive !== undefined && (one.id === id || one.id === `${type}/${id}`))
  if (found?.exporter.archive !== undefined) return found.exporter.archive
  const known = stores
    .exporters()
    .filter((one) => one.exporter.archive !== undefined)
    .map((one) => `${one.id.split('/')[0]}:${one.id}`)
  throw reject(
    'REQUEST_INVALID',
    `source: ${source} is no archive that runs here; there are: ${known.join(', ') || 'none'}`,
  )
}

function allowed(path: string, directories: readonly string[]): string {
  const full = resolve(path)
  const isWithin = directories.some((directory) => `${full}${sep}`.startsWith(`${resolve(directory)}${sep}`))
  if (isWithin) return full
  throw reject(
    'REQUEST_INVALID',
    `source: ${path} is not below any of the directories that may be read: list it in jobs.replay.directories`,
  )
}
