import { z } from 'zod'
import { clientTls } from '../../pipeline/net/client-tls.ts'
import { canZstd } from '../../pipeline/net/compress.ts'
import { byteSize, duration, secret } from '../../pipeline/schema.ts'

const ADDRESS = /^(https?:\/\/[^\s]+|(\[[0-9a-fA-F:.]+\]|[^\s:/]+):\d{1,5})$/

const address = () =>
  z.string().regex(ADDRESS, 'must be host:port or http(s)://host:port, e.g. tempo.example:4317')

const keepalive = z.strictObject({
  time: duration().prefault('30s').describe('Ping a silent server after this time.'),
  timeout: duration().prefault('10s').describe('Give the connection up when a ping is not answered by then.'),
  permit_without_stream: z.boolean().default(false).describe('Ping also while nothing is under way.'),
})

const batch = z.strictObject({
  max_spans: z.int().min(1).max(65_536).default(8192).describe('Spans per request, at most.'),
  max_bytes: byteSize()
    .prefault('3MiB')
    .describe(
      'Bytes per request before compression; most gRPC servers take 4 MiB. A larger span is sent alone.',
    ),
  max_wait: duration().prefault('200ms').describe('How long the first span of a request waits for others.'),
})

/** Keys as in the collector's otlp_grpc and otlp_http exporters where they mean the same. */
export const config = z
  .strictObject({
    endpoint: z
      .union([address(), z.array(address()).min(1).max(32)])
      .describe(
        'gRPC: `host:port`. HTTP: `http(s)://host:port`, to which `/v1/traces` is added. A list is several servers of one destination.',
      ),
    protocol: z
      .enum(['grpc', 'http'])
      .optional()
      .describe('Default: `grpc`; `http` where the component is called `otlp_http` or `otlphttp`.'),
    encoding: z.enum(['proto', 'json']).default('proto').describe('Of HTTP requests.'),
    traces_endpoint: z
      .string()
      .regex(/^https?:\/\/\S+$/, 'must be a URL')
      .optional()
      .describe('HTTP: the whole URL, where the path is not `/v1/traces`; wins over `endpoint`.'),
    balancer_name: z
      .enum(['round_robin', 'pick_first'])
      .default('round_robin')
      .describe('With several endpoints: all in turn, or the first one that answers.'),
    tls: clientTls.optional().describe('How the server is trusted; the public authorities when left out.'),
    headers: z
      .record(z.string().regex(/^[a-zA-Z0-9!#$%&'*+.^_`|~-]+$/, 'must be a header name'), secret())
      .default({})
      .describe('Sent with every request, such as `authorization`.'),
    authority: z.string().min(1).optional().describe('gRPC: the `:authority` header.'),
    compression: z
      .enum(['gzip', 'zstd', 'none'])
      .default('gzip')
      .describe('Of requests. `zstd`: HTTP only, and Node.js 22.15 or newer.'),
    timeout: duration().prefault('10s').describe('Of one request.'),
    keepalive: keepalive.optional().describe('gRPC: pings.'),
    batch: batch.prefault({}).describe('The size of one request.'),
  })
  .refine((c) => c.compression !== 'zstd' || canZstd, {
    path: ['compression'],
    message: 'zstd needs Node.js 22.15 or newer; use gzip',
  })

export type Config = z.output<typeof config>
