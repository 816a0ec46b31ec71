import type { Processor } from '../../pipeline/component.ts'
import type { ReplayRoute } from '../../pipeline/jobs/job.ts'
import type { Chunk } from './chunk.ts'

const MAX_BYTES = 32 * 1024 * 1024

/** Messages `from` to `to` once more, in chunks. */
export async function* fromLog(
  route: ReplayRoute,
  { from, to }: { readonly from: number; readonly to: number },
  maxSpans: number,
  process: Processor['process'],
  signal: AbortSignal,
): AsyncGenerator<Chunk> {
  const limits = { maxSpans, maxBytes: MAX_BYTES, maxWaitMs: 0 }
  const scan = { from, to, cursor: route.cursor, limits, process }
  let next = from
  for await (const range of route.log.scan(scan, signal)) {
    const notes = []
    // What is missing in the middle was purged with its tenant; at the front, the WAL was trimmed under us.
    if (next === from && range.from > next)
      notes.push(`messages ${next} to ${range.from - 1} are not in the WAL any more`)
    next = range.to + 1
    const { spans, duplicates, refused, damaged, batches } = range
    yield {
      name: `${range.from}-${range.to}`,
      batches,
      from: range.from,
      to: range.to,
      next: { in: 'log', seq: next },
      read: { spans, duplicates, refused, damaged, notes },
    }
  }
}
