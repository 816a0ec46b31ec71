import { ARTIFACT } from '../artifact.ts'
import { isMoved } from './content.ts'
import type { Recorded, Step } from './steps.ts'
import type { StoredSpan } from './stored-span.ts'

/** Of the attribute that holds all that an event says. */
export const MOVED_PAYLOAD = `toon.payload${ARTIFACT.ref}`
const HASH = 'weir.redaction.hash'
/** Written before redaction, by the processor `replay_cache`. */
export const REPLAY_KEY = 'weir.replay.key'

/** `way`: whether it is what was asked, or what came of it. */
export function recorded(span: StoredSpan, value: unknown, way: 'input' | 'output'): Recorded {
  const redactionHash = span.attributes.get(HASH)
  return {
    value,
    ...(redactionHash !== undefined && { redactionHash }),
    ...((span.attributes.has(MOVED_PAYLOAD) || isMoved(span, way)) && { moved: true }),
  }
}

/** What every step has of its span. */
export function stepBase(
  span: StoredSpan,
): Omit<Step, 'kind' | 'name' | 'input' | 'output' | 'seq' | 'requestSpanId'> {
  return {
    operation: span.operation,
    spanId: span.spanId,
    ...replayKeyOf(span),
    status: span.status,
    ...(span.status === 'error' && {
      error: span.statusMessage || (span.attributes.get('error.type') ?? ''),
    }),
    ...(span.finishReason !== '' && { finishReason: span.finishReason }),
    startNs: String(span.startNs),
    durationMs: Number(span.durationNs) / 1e6,
    tokensIn: span.tokensIn,
    tokensOut: span.tokensOut,
    costUsd: span.costUsd,
    costStatus: span.costStatus,
  }
}

export function replayKeyOf(span: StoredSpan): Pick<Step, 'replayKey'> {
  const replayKey = span.attributes.get(REPLAY_KEY)
  return replayKey === undefined ? {} : { replayKey }
}
