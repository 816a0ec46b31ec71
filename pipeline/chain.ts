import type { Admission, Admitted, Entry, Head, Lookback, Standing } from './admission.ts'
import type { Batch } from './batch/batch.ts'
import type { Processor } from './component.ts'
import { ACCEPTED, type Consumer, type Outcome, type Rejection } from './consumer.ts'
import { reject } from './fault.ts'

/** The data's path: processors in order, then the consumer; fan-out; and the admission that stands before it all. */

/** Runs processors in order; rejected rows are dropped from the batch, and it stops when nothing is live. */
export function inOrder(processors: readonly Processor[]): (batch: Batch) => Promise<Outcome> {
  return async (batch) => {
    const rejected: Rejection[] = []
    for (const processor of processors) {
      if (batch.live === 0) break
      const outcome = await processor.process(batch)
      if (outcome === undefined) continue
      for (const rejection of outcome.rejected) {
        for (const row of rejection.rows) batch.drop(row, 'rejected')
        rejected.push(rejection)
      }
    }
    return rejected.length === 0 ? ACCEPTED : { rejected }
  }
}

/** Processors before a consumer. A batch of which nothing is left is a success: dropping was somebody's decision. */
export function chain(processors: readonly Processor[], next: Consumer): Consumer {
  if (processors.length === 0) return next
  const run = inOrder(processors)
  const settlers = processors.filter((processor) => processor.settle !== undefined)
  return {
    async consume(batch, signal) {
      let outcome: Outcome | undefined
      try {
        const before = await run(batch)
        if (batch.meta.whole === true && before.rejected.length > 0) dropAll(batch)
        outcome = batch.live === 0 ? before : merge(before, await next.consume(batch, signal))
        return outcome
      } finally {
        for (const processor of settlers) processor.settle?.(batch, outcome)
      }
    },
  }
}

function dropAll(batch: Batch): void {
  for (let row = 0; row < batch.rows; row++) if (batch.isLive(row)) batch.drop(row, 'rejected')
}

/**
 * Gives a batch to all consumers at once; resolves when every one has it. When one fails the sender hears of it and
 * sends again: the others then see a repeat, which the WAL drops by its digest.
 */
export function fanOut(consumers: readonly Consumer[]): Consumer {
  const [only] = consumers
  if (consumers.length === 1 && only !== undefined) return only
  return {
    async consume(batch, signal) {
      const copies = consumers.map((_, index) => (index === 0 ? batch : batch.fork()))
      const settled = await Promise.allSettled(
        consumers.map((consumer, index) => consumer.consume(copies[index] ?? batch, signal)),
      )
      const outcomes = settled.map((result) => {
        if (result.status === 'rejected') throw result.reason
        return result.value
      })
      return union(outcomes)
    },
  }
}

/** What several consumers rejected of one batch: a row counts once, for the reason that was given first. */
function union(outcomes: readonly Outcome[]): Outcome {
  const seen = new Set<number>()
  const rejected = outcomes.flatMap((outcome) =>
    outcome.rejected.flatMap((rejection) => {
      const rows = rejection.rows.filter((row) => !seen.has(row))
      for (const row of rows) seen.add(row)
      return rows.length === 0 ? [] : [{ ...rejection, rows }]
    }),
  )
  return rejected.length === 0 ? ACCEPTED : { rejected }
}

/** What stands around a pipeline's consumer. */
export interface EntryFacts {
  readonly authenticated: boolean
  readonly lookback?: Lookback | undefined
}

/** Where a receiver delivers: the admissions of all processors in pipeline order, then the consumer. */
export function entry(processors: readonly Processor[], consumer: Consumer, facts: EntryFacts): Entry {
  const judges = processors.filter((processor) => processor.admit !== undefined)
  const redactors = processors.filter((processor) => processor.redacts === true)
  return {
    ...facts,
    redact: redactors.length === 0 ? undefined : redaction(redactors),
    admit: (head) => admitAll(judges, head),
    consume: (batch, signal) => consumer.consume(batch, signal),
  }
}

function redaction(redactors: readonly Processor[]): (batch: Batch) => Promise<void> {
  return async (batch) => {
    const { rejected } = await inOrder(redactors)(batch)
    const [first] = rejected
    if (first !== undefined) throw reject('SANITIZER_FAILED', first.reason)
  }
}

function admitAll(processors: readonly Processor[], head: Head): Admitted | Promise<Admitted> {
  return processors.length === 0 && head.owner === undefined ? OPEN : admitByAll(processors, head)
}

async function admitByAll(processors: readonly Processor[], head: Head): Promise<Admitted> {
  let sender: Standing = { ...NOBODY, ...head.owner }
  const admissions: Admission[] = []
  try {
    for (const processor of processors) {
      const admission = await processor.admit?.(head, sender)
      if (admission === undefined) continue
      admissions.push(admission)
      sender = standing(sender, admission)
    }
  } catch (error) {
    for (const admission of admissions) admission.release?.()
    throw error
  }
  return fold(sender, admissions)
}

/** Nobody judged: the tenant is `default` (design section 3). */
const NOBODY: Standing = { tenant: 'default', project: '', principal: '' }
const OPEN: Admitted = {
  ...NOBODY,
  wantsDigest: false,
  verify: () => Promise.resolve(),
  release: () => undefined,
}

function standing(before: Standing, { tenant, project, principal }: Admission): Standing {
  return {
    tenant: tenant ?? before.tenant,
    project: project ?? before.project,
    principal: principal ?? before.principal,
  }
}

function fold(sender: Standing, admissions: readonly Admission[]): Admitted {
  let released = false
  const signatures = admissions.filter((admission) => admission.verifyEvent !== undefined)
  const holders = admissions.filter((admission) => admission.hold !== undefined)
  return {
    ...sender,
    wantsDigest: admissions.some((admission) => admission.verify !== undefined),
    async verify(sha256) {
      for (const admission of admissions) await admission.verify?.(sha256)
    },
    ...(signatures.length > 0 && {
      async verifyEvent(canonical: Uint8Array, signature: string) {
        for (const admission of signatures) await admission.verifyEvent?.(canonical, signature)
      },
    }),
    ...(holders.length > 0 && {
      hold(bytes: number) {
        for (const admission of holders) admission.hold?.(bytes)
      },
    }),
    release() {
      if (released) return
      released = true
      for (const admission of admissions) admission.release?.()
    },
  }
}

function merge(a: Outcome, b: Outcome): Outcome {
  if (a.rejected.length === 0) return b
  if (b.rejected.length === 0) return a
  return { rejected: [...a.rejected, ...b.rejected] }
}
