import { z } from 'zod'
import type { ServiceConfig, TelemetryConfig } from '../pipeline/config.ts'
import { duration } from '../pipeline/schema.ts'

/** `service:` with the collector's keys. What the collector has and weir has no use for is an unknown key. */

const LEVELS = ['debug', 'info', 'warn', 'error'] as const

const logs = z.strictObject({
  level: z
    .enum([...LEVELS, 'DEBUG', 'INFO', 'WARN', 'ERROR'])
    .default('info')
    .describe('Lowest level that is logged.'),
  encoding: z
    .enum(['console', 'json'])
    .default('console')
    .describe('One JSON object a line, or text for people.'),
})

const onlyTrue = z
  .literal(true)
  .optional()
  .describe("Accepted for the collector's configs; names never carry it.")

const prometheus = z.strictObject({
  host: z.string().min(1).default('127.0.0.1').describe('Address to listen on.'),
  port: z.number().int().min(0).max(65_535).default(8888).describe('Port to listen on; 0: any free one.'),
  insecure_bind: z
    .boolean()
    .default(false)
    .describe('Serve beyond loopback although the page has neither TLS nor authentication.'),
  without_type_suffix: onlyTrue,
  without_units: onlyTrue,
  without_scope_info: onlyTrue,
})

const pullExporter = z
  .strictObject({ prometheus: prometheus.prefault({}).describe('Prometheus text.') })
  .describe('How it is read.')

const reader = z.strictObject({
  pull: z.strictObject({ exporter: pullExporter }).describe('A Prometheus endpoint, `/metrics`.'),
})

const metrics = z.strictObject({
  level: z
    .enum(['none', 'basic', 'normal', 'detailed'])
    .default('normal')
    .describe('How much is measured; none: no endpoint either.'),
  readers: z.array(reader).optional().describe('Where metrics are read; absent: 127.0.0.1:8888.'),
})

const otlp = z.strictObject({
  protocol: z
    .enum(['grpc', 'grpc/protobuf'])
    .default('grpc')
    .describe('The transport; only gRPC is built in.'),
  endpoint: z
    .string()
    .regex(/^(https?:\/\/)?[^\s/@]+:\d{1,5}\/?$/, 'must be host:port or http(s)://host:port')
    .describe('Where the spans go.'),
  insecure: z.boolean().optional().describe('Without TLS; the default for an http:// endpoint.'),
})

const spanExporter = z.strictObject({ otlp: otlp.describe('OTLP.') }).describe('How they are sent.')

const spanProcessor = z.strictObject({
  batch: z.strictObject({ exporter: spanExporter }).describe('Spans are sent in batches.'),
})

const traces = z.strictObject({
  processors: z.array(spanProcessor).max(1).default([]).describe("Where weir's own spans go; at most one."),
})

const telemetry = z.strictObject({
  logs: logs.prefault({}).describe('The log on stderr.'),
  metrics: metrics.prefault({}).describe("weir's own metrics."),
  traces: traces.prefault({}).describe("weir's own traces; absent: none."),
  resource: z
    .record(z.string(), z.union([z.string(), z.number(), z.boolean()]))
    .default({})
    .describe("Attributes of weir's own telemetry, e.g. service.name."),
})

const refs = z.array(z.string().min(1))

const pipeline = z.strictObject({
  receivers: refs.describe('Ids of receivers, or of connectors that this pipeline reads from.'),
  processors: refs.default([]).describe('Ids of processors, in the order in which they run.'),
  exporters: refs.describe('Ids of exporters, or of connectors that this pipeline writes to.'),
})

export const serviceSchema = z.strictObject({
  extensions: refs.default([]).describe('Ids of the extensions to start, in order.'),
  jobs: refs.default([]).describe('Ids of the jobs to run by their schedules.'),
  pipelines: z.record(z.string(), pipeline).describe('`traces` or `traces/name`: what is wired to what.'),
  shutdown_timeout: duration()
    .prefault('10s')
    .describe('How long a stop may drain before it ends the process.'),
  telemetry: telemetry.prefault({}).describe('How weir is observed.'),
})

export type ServiceInput = z.output<typeof serviceSchema>

export function toService(input: ServiceInput, pipelines: ServiceConfig['pipelines']): ServiceConfig {
  return {
    extensions: input.extensions,
    jobs: input.jobs,
    pipelines,
    shutdownTimeoutMs: input.shutdown_timeout,
    telemetry: toTelemetry(input.telemetry),
  }
}

function toTelemetry(input: ServiceInput['telemetry']): TelemetryConfig {
  const sink = input.traces.processors[0]?.batch.exporter.otlp
  return {
    logs: {
      level: input.logs.level.toLowerCase() as TelemetryConfig['logs']['level'],
      encoding: input.logs.encoding,
    },
    metrics: { level: input.metrics.level, ...metricEndpoints(input.metrics) },
    traces:
      sink === undefined
        ? undefined
        : { endpoint: sink.endpoint, insecure: sink.insecure ?? sink.endpoint.startsWith('http://') },
    resource: Object.fromEntries(Object.entries(input.resource).map(([key, value]) => [key, String(value)])),
  }
}

function metricEndpoints(
  input: ServiceInput['telemetry']['metrics'],
): Pick<TelemetryConfig['metrics'], 'endpoints' | 'insecureBind'> {
  if (input.level === 'none') return { endpoints: [], insecureBind: [] }
  if (input.readers === undefined) return { endpoints: ['127.0.0.1:8888'], insecureBind: [] }
  const readers = input.readers.map(({ pull }) => {
    const { host, port, insecure_bind: insecure } = pull.exporter.prometheus
    const address = host.includes(':') && !host.startsWith('[') ? `[${host}]:${port}` : `${host}:${port}`
    return { address, insecure }
  })
  return {
    endpoints: readers.map(({ address }) => address),
    insecureBind: readers.filter(({ insecure }) => insecure).map(({ address }) => address),
  }
}
