import type { Lookback, Standing } from '../admission.ts'
import type { BatchMeta } from '../batch/batch.ts'
import { decodeBatch } from '../batch/otlp-batch.ts'
import type { Consumer, Outcome } from '../consumer.ts'
import { publish as publishBatch } from '../publish-rest.ts'
import type { StateStore } from '../state/state.ts'
import type { Redactor } from './redactor.ts'
import type { RunStore } from './runs.ts'

/** What numbering and publishing need of the daemon. */
export interface RunServices {
  readonly store: RunStore
  readonly state: () => StateStore
  readonly redactor: Redactor
  readonly next: Consumer & { readonly lookback?: Lookback | undefined }
  /** Id of the receiver: it ends the runs that it has opened. */
  readonly receiver: string
  /** Unix ms. */
  readonly clock: () => number
  /** A WAL position of a moment ago. */
  readonly position: () => Promise<string>
}

/** Spans that a reservation in state says must be in the WAL, once. */
export interface Publication {
  readonly sender: Standing
  /** `BatchMeta.source`. */
  readonly source: string
  /** From what the reservation knows: the same for every attempt. */
  readonly digest: Uint8Array
  readonly spans: () => Uint8Array
  /** Set when an earlier attempt may have published: where to look from. */
  readonly since: string | undefined
  /** Take all of it or nothing (`BatchMeta.whole`). */
  readonly whole: boolean
}

/** The sender may go away: what was reserved is published all the same. */
const PUBLISH_MS = 20_000

/**
 * Publishes what the WAL has not got. Two attempts at once are harmless: the reader drops the second by its digest.
 * Rejects with the pipeline's Fault; its Outcome may reject rows, and then nothing was published.
 */
export async function publish(services: RunServices, publication: Publication): Promise<Outcome> {
  const { next, clock } = services
  const { sender, digest, since } = publication
  const signal = AbortSignal.timeout(PUBLISH_MS)
  const meta: BatchMeta = {
    signal: 'traces',
    tenant: sender.tenant,
    project: sender.project,
    principal: sender.principal,
    source: publication.source,
    receivedAtMs: clock(),
    digest,
    whole: publication.whole,
  }
  const batch = decodeBatch(publication.spans(), meta)
  return await publishBatch(next, batch, since, signal)
}

/** The newest position, asked for at most once a second: an older one only makes a search longer. */
export function positions(next: RunServices['next'], maxAgeMs = 1000): () => Promise<string> {
  let asked: { readonly at: number; readonly position: Promise<string> } | undefined
  return async () => {
    if (next.lookback === undefined) return ''
    const now = performance.now()
    if (asked === undefined || now - asked.at > maxAgeMs) {
      asked = { at: now, position: next.lookback.position() }
      asked.position.catch(() => (asked = undefined))
    }
    return asked.position
  }
}
