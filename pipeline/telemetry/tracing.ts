import { credentials } from '@grpc/grpc-js'
import { SpanStatusCode, type Tracer } from '@opentelemetry/api'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-grpc'
import { resourceFromAttributes } from '@opentelemetry/resources'
import { BasicTracerProvider, BatchSpanProcessor, type SpanExporter } from '@opentelemetry/sdk-trace-base'
import { NONE, type Batch } from '../batch/batch.ts'
import { keyId } from '../batch/keys.ts'
import { faultOf, messageOf } from '../fault.ts'

/** weir's own spans: one per request taken and one per delivery made. */
export interface Tracing {
  readonly tracer: Tracer
  /**
   * True for spans that this very process sent. They are handled like any other but make no spans of their own:
   * otherwise a daemon whose endpoint is its own receiver would trace the delivery of its traces without end.
   * Known by `service.instance.id` of the batch's resource, which is random per process.
   */
  isOwn(batch: Batch): boolean
  /** Sends what is queued. */
  flush(): Promise<void>
  /** Sends what is left, within the exporter's own deadline. */
  stop(): Promise<void>
}

interface TracingOptions {
  readonly endpoint: string
  readonly insecure: boolean
  /** Must hold `service.instance.id`. */
  readonly resource: Readonly<Record<string, string>>
}

export const INSTANCE_ID = 'service.instance.id'

const EXPORT_TIMEOUT_MS = 5000
const MAX_QUEUED_SPANS = 2048

export function createTracing(options: TracingOptions): Tracing {
  const scheme = options.insecure ? 'http' : 'https'
  const exporter = new OTLPTraceExporter({
    url: /^[a-z]+:\/\//.test(options.endpoint) ? options.endpoint : `${scheme}://${options.endpoint}`,
    credentials: options.insecure ? credentials.createInsecure() : credentials.createSsl(),
    timeoutMillis: EXPORT_TIMEOUT_MS,
  })
  return tracingOver(exporter, options.resource)
}

/** The same with another way out, e.g. memory in a test. */
export function tracingOver(exporter: SpanExporter, resource: Readonly<Record<string, string>>): Tracing {
  const instance = resource[INSTANCE_ID]
  if (instance === undefined) throw new Error(`weir's own traces need ${INSTANCE_ID} in their resource`)
  const provider = new BasicTracerProvider({
    resource: resourceFromAttributes({ ...resource }),
    spanProcessors: [
      new BatchSpanProcessor(exporter, {
        maxQueueSize: MAX_QUEUED_SPANS,
        exportTimeoutMillis: EXPORT_TIMEOUT_MS,
      }),
    ],
  })
  const key = keyId(INSTANCE_ID)
  return {
    tracer: provider.getTracer('weir'),
    isOwn(batch) {
      if (batch.rows === 0) return false
      const ref = batch.resourceAttr(0, key)
      return ref !== NONE && batch.string(ref) === instance
    },
    flush: () => provider.forceFlush(),
    stop: () => provider.shutdown(),
  }
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
    span.setStatus({ code: SpanStatusCode.ERROR, message: messageOf(error) })
    span.setAttribute('error.type', faultOf(error)?.code ?? 'INTERNAL')
    throw error
  } finally {
    span.end()
  }
}
