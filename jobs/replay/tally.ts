import type { Batch } from '../../pipeline/batch/batch.ts'
import type { JobReport } from '../../pipeline/jobs/job.ts'
import type { Read } from './chunk.ts'

const MAX_TENANTS = 200
const MAX_TRACES = 2_000_000
const MAX_NOTES = 50
const OTHERS = '(others)'

/** What became of the spans of a chunk. */
export interface Outcome {
  /** In the store before; replaced where that was asked for. Unknown of stores that cannot tell. */
  readonly present: number
  readonly added: number
  readonly expired: number
  readonly rejected: number
}

/** Figures of a run; JSON, so that a checkpoint carries them on. */
export interface Figures {
  readonly read: number
  readonly duplicates: number
  readonly refused: number
  readonly damaged: number
  /** What of the rest the processors left out, by reason. */
  readonly left: Readonly<Record<string, number>>
  readonly selected: number
  readonly present: number
  readonly added: number
  readonly expired: number
  readonly rejected: number
  readonly tenants: Readonly<Record<string, number>>
  /** Starts of the first and last span, Unix ms. */
  readonly firstMs: number
  readonly lastMs: number
  readonly repriced: number
  readonly notes: readonly string[]
}

export const NOTHING: Figures = {
  read: 0,
  duplicates: 0,
  refused: 0,
  damaged: 0,
  left: {},
  selected: 0,
  present: 0,
  added: 0,
  expired: 0,
  rejected: 0,
  tenants: {},
  firstMs: Number.MAX_SAFE_INTEGER,
  lastMs: 0,
  repriced: 0,
  notes: [],
}

export function withChunk(before: Figures, read: Read, batches: readonly Batch[], outcome: Outcome): Figures {
  const tenants = { ...before.tenants }
  const left = { ...before.left }
  let { firstMs, lastMs, selected } = before
  for (const batch of batches) {
    selected += batch.live
    for (const [reason, count] of batch.drops()) left[reason] = (left[reason] ?? 0) + count
    if (batch.live === 0) continue
    const { tenant } = batch.meta
    const isKnown = Object.hasOwn(tenants, tenant) || Object.keys(tenants).length < MAX_TENANTS
    const name = isKnown ? tenant : OTHERS
    tenants[name] = (Object.hasOwn(tenants, name) ? (tenants[name] ?? 0) : 0) + batch.live
    for (let row = 0; row < batch.rows; row++) {
      if (!batch.isLive(row)) continue
      const ms = Math.floor(batch.startMs(row))
      if (ms < firstMs) firstMs = ms
      if (ms > lastMs) lastMs = ms
    }
  }
  return {
    ...before,
    read: before.read + read.spans,
    duplicates: before.duplicates + read.duplicates,
    refused: before.refused + read.refused,
    damaged: before.damaged + read.damaged,
    left,
    selected,
    present: before.present + outcome.present,
    added: before.added + outcome.added,
    expired: before.expired + outcome.expired,
    rejected: before.rejected + outcome.rejected,
    tenants,
    firstMs,
    lastMs,
    notes: [...before.notes, ...read.notes].slice(0, MAX_NOTES),
  }
}

/** Different traces, of a dry run: at most some millions are told apart. */
export class Traces {
  readonly #seen = new Set<string>()

  add(batches: readonly Batch[]): void {
    for (const batch of batches) {
      for (let row = 0; row < batch.rows && this.#seen.size < MAX_TRACES; row++) {
        if (!batch.isLive(row)) continue
        this.#seen.add(`${batch.meta.tenant} ${Buffer.from(batch.traceId(row)).toString('latin1')}`)
      }
    }
  }

  get count(): number {
    return this.#seen.size
  }

  get isFull(): boolean {
    return this.#seen.size >= MAX_TRACES
  }
}

export interface ReportOptions {
  readonly dryRun: boolean
  /** The store tells what it holds. */
  readonly knows: boolean
  readonly replace: boolean
  readonly reprice: boolean
  readonly traces: Traces | undefined
  readonly notes: readonly string[]
}

export function reportOf(figures: Figures, options: ReportOptions): JobReport {
  const { dryRun, knows, replace, reprice, traces } = options
  const some = (name: string, count: number) => (count === 0 ? {} : { [name]: count })
  const presentAs = replace ? 'replaced' : 'already_there'
  return {
    counts: {
      spans: figures.selected,
      ...(traces !== undefined && { traces: traces.count }),
      tenants: Object.keys(figures.tenants).length,
      ...(knows && { [dryRun ? 'present' : presentAs]: figures.present }),
      [dryRun ? 'absent' : knows ? 'added' : 'delivered']: figures.added,
      ...(reprice && { repriced: figures.repriced }),
      ...some('expired', figures.expired),
      ...some('rejected', figures.rejected),
      ...some('sampled_out', figures.left['sampled'] ?? 0),
      ...some('erased', figures.left['erased'] ?? 0),
      read: figures.read,
      ...some('duplicates', figures.duplicates),
      ...some('dead_letters', figures.refused),
      ...some('unreadable', figures.damaged),
    },
    notes: [
      ...options.notes,
      ...(traces?.isFull === true ? [`there are more traces than ${MAX_TRACES}`] : []),
      ...(figures.selected === 0 && figures.notes.length === 0 ? [nothing(figures)] : []),
      ...figures.notes,
    ],
    details: { tenants: figures.tenants },
  }
}

function nothing({ read, left }: Figures): string {
  const gone = Object.entries(left).filter(([reason]) => reason !== 'skipped')
  if (gone.length > 0) {
    return `nothing was left to deliver: ${gone.map(([reason, count]) => `${count} ${reason}`).join(', ')}`
  }
  if (read === 0) return 'nothing matched: the source holds no span in this range'
  return `nothing matched: of the spans that were read, ${read} in all, none is of this time, tenant, run and trace`
}
