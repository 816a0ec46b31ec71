import type { Recorded, Step } from './steps.ts'
import type { StoredSpan } from './stored-span.ts'

const HASH = 'weir.redaction.hash'

export function recorded(span: StoredSpan, value: unknown): Recorded {
  const redactionHash = span.attributes.get(HASH)
  return redactionHash === undefined ? { value } : { value, redactionHash }
}

/** What every step has of its span. */
export function stepBase(
  span: StoredSpan,
): Omit<Step, 'kind' | 'name' | 'input' | 'output' | 'seq' | 'requestSpanId'> {
  return {
    operation: span.operation,
    spanId: span.spanId,
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
