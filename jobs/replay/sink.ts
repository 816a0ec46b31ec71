import type { Batch } from '../../pipeline/batch/batch.ts'
import type { Exporter } from '../../pipeline/component.ts'
import { rejectedCount } from '../../pipeline/consumer.ts'
import { faultOf } from '../../pipeline/fault.ts'
import type { ReplayCount } from '../../pipeline/replay.ts'
import type { Chunk } from './chunk.ts'
import type { Outcome } from './tally.ts'

export interface Given {
  readonly exporter: Exporter
  /** `replay/<pipeline>/<exporter>`: what the exporter knows these deliveries by. */
  readonly cursor: string
  readonly chunk: Chunk
  /** Of this run. */
  readonly token: string
  /** The same for every run that is asked for the same. */
  readonly name: string
}

/** How many of the spans the store holds; a store that cannot tell holds none. */
export async function look({ exporter, chunk }: Given, signal: AbortSignal): Promise<Outcome> {
  const live = liveIn(chunk.batches)
  if (exporter.replay === undefined) return { present: 0, added: live, expired: 0, rejected: 0 }
  return outcomeOf(await exporter.replay.count(chunk.batches, signal))
}

/** Delivers a chunk so that a repeat adds nothing, where the store can know that. */
export async function give(given: Given, replace: boolean, signal: AbortSignal): Promise<Outcome> {
  const { exporter, chunk, token } = given
  const { replay } = exporter
  const rejected = await bisected(chunk.batches, async (batches, part) => {
    if (replay === undefined) return deliver(given, batches, part, signal)
    const name = `${token}${part}`
    return outcomeOf(
      replace ? await replay.replace(batches, name, signal) : await replay.add(batches, name, signal),
    )
  })
  return rejected
}

function outcomeOf({ spans, present, expired }: ReplayCount): Outcome {
  return { present, added: spans - present, expired, rejected: 0 }
}

async function deliver(
  { exporter, chunk, cursor, token, name }: Given,
  batches: readonly Batch[],
  part: string,
  signal: AbortSignal,
): Promise<Outcome> {
  const spans = liveIn(batches)
  let rejected = 0
  if (exporter.deliver === undefined) {
    for (const batch of batches) rejected += rejectedCount(await exporter.consume(batch, signal))
  } else {
    // Never a first try: whether an earlier one arrived is not known.
    const range = { from: chunk.from, to: chunk.to, token: `${name}${part}`, attempt: 1 }
    const outcome = await exporter.deliver(
      { cursor, range, batches, spans, replay: `${token}${part}` },
      signal,
    )
    for (const { rejection } of outcome.rejected) rejected += rejectedCount({ rejected: [rejection] })
  }
  const expired = spans - liveIn(batches)
  return { present: 0, added: spans - expired - rejected, expired, rejected }
}

/** What the destination refuses as a whole is halved down to the span at fault, which is counted and left out. */
async function bisected(
  batches: readonly Batch[],
  work: (batches: readonly Batch[], part: string) => Promise<Outcome>,
  part = '',
): Promise<Outcome> {
  if (liveIn(batches) === 0) return NONE
  try {
    return await work(batches, part)
  } catch (error) {
    const fault = faultOf(error)
    if (fault?.verdict.do !== 'reject' || fault.code !== 'EXPORT_REJECTED') throw error
    if (liveIn(batches) === 1) return { ...NONE, rejected: 1 }
    const [first, second] = halves(batches)
    return sum(await bisected(first, work, `${part}-0`), await bisected(second, work, `${part}-1`))
  }
}

function halves(batches: readonly Batch[]): readonly [Batch[], Batch[]] {
  const middle = liveIn(batches) >> 1
  const first: Batch[] = []
  const second: Batch[] = []
  let passed = 0
  for (const batch of batches) {
    const rows = Array.from({ length: batch.rows }, (_, row) => row).filter((row) => batch.isLive(row))
    const cut = Math.min(Math.max(middle - passed, 0), rows.length)
    if (cut > 0) first.push(batch.select(rows.slice(0, cut)))
    if (cut < rows.length) second.push(batch.select(rows.slice(cut)))
    passed += rows.length
  }
  return [first, second]
}

const NONE: Outcome = { present: 0, added: 0, expired: 0, rejected: 0 }

function sum(a: Outcome, b: Outcome): Outcome {
  return {
    present: a.present + b.present,
    added: a.added + b.added,
    expired: a.expired + b.expired,
    rejected: a.rejected + b.rejected,
  }
}

function liveIn(batches: readonly Batch[]): number {
  return batches.reduce((count, batch) => count + batch.live, 0)
}
