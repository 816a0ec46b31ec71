import { credentials } from '@grpc/grpc-js'
import { SpanStatusCode } from '@opentelemetry/api'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-grpc'
import { resourceFromAttributes } from '@opentelemetry/resources'
import { BasicTracerProvider, BatchSpanProcessor, type SpanExporter } from '@opentelemetry/sdk-trace-base'
import { NONE } from '../batch/batch.ts'
import { keyId } from '../batch/keys.ts'
import { faultOf, messageOf } from '../fault.ts'
import type { Tracing } from './traced.ts'

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
    failed(span, error) {
      span.setStatus({ code: SpanStatusCode.ERROR, message: messageOf(error) })
      span.setAttribute('error.type', faultOf(error)?.code ?? 'INTERNAL')
    },
    flush: () => provider.forceFlush(),
    stop: () => provider.shutdown(),
  }
}
