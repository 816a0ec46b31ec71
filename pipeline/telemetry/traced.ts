import type { Span, Tracer } from '@opentelemetry/api'
import type { Batch } from '../batch/batch.ts'

/**
 * weir's own spans: one per request taken and one per delivery made. Here is nothing of OpenTelemetry's SDK: what observes
 * components is loaded by every process, the SDK (`tracing.ts`) where traces are configured.
 */
export interface Tracing {
  readonly tracer: Tracer
  /**
   * True for spans that this very process sent. They are handled like any other but make no spans of their own:
   * otherwise a daemon whose endpoint is its own receiver would trace the delivery of its traces without end.
   * Known by `service.instance.id` of the batch's resource, which is random per process.
   */
  isOwn(batch: Batch): boolean
  /** Tells of the error that ended a span's work. */
  failed(span: Span, error: unknown): void
  /** Sends what is queued. */
  flush(): Promise<void>
  /** Sends what is left, within the exporter's own deadline. */
  stop(): Promise<void>
}

/** Runs `work` in a span over these batches; without tracing, or when all of them are our own spans, just runs it. */
export function traced<R>(
  tracing: Tracing | undefined,
  name: string,
  batches: readonly Batch[],
  work: () => Promise<R>,
): Promise<R> {
  if (tracing === undefined || batches.every((batch) => tracing.isOwn(batch))) return work()
  return inSpan(tracing, name, batches, work)
}

async function inSpan<R>(
  tracing: Tracing,
  name: string,
  batches: readonly Batch[],
  work: () => Promise<R>,
): Promise<R> {
  const spans = batches.reduce((sum, batch) => sum + batch.live, 0)
  const span = tracing.tracer.startSpan(name, {
    attributes: { 'weir.batches': batches.length, 'weir.spans': spans },
  })
  try {
    return await work()
  } catch (error) {
    tracing.failed(span, error)
    throw error
  } finally {
    span.end()
  }
}
