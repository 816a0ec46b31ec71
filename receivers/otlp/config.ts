import { z } from 'zod'
import { httpServer, insecureBind } from '../../pipeline/net/server-config.ts'
import { serverTls } from '../../pipeline/net/tls.ts'
import { byteSize, duration, endpoint } from '../../pipeline/schema.ts'

/** OTLP specification 1.11: the recommended limit after decompression. */
const DEFAULT_LIMIT_MIB = 64

const keepalive = z.strictObject({
  server_parameters: z
    .strictObject({
      max_connection_idle: duration()
        .optional()
        .describe('Close a connection without requests after this time.'),
      max_connection_age: duration()
        .optional()
        .describe('Ask senders to reconnect after this time (spreads load behind a balancer).'),
      max_connection_age_grace: duration()
        .optional()
        .describe('How long such a connection may finish its requests.'),
      time: duration().prefault('2h').describe('Ping a silent sender after this time.'),
      timeout: duration()
        .prefault('20s')
        .describe('Close the connection when a ping is not answered by then.'),
    })
    .prefault({})
    .describe('How the server looks after connections.'),
  enforcement_policy: z
    .strictObject({
      min_time: duration().prefault('5m').describe('Senders that ping more often are sent away.'),
      permit_without_stream: z
        .boolean()
        .default(false)
        .describe('Whether pings are fine with no request under way.'),
    })
    .optional()
    .describe('What pings are tolerated; absent: any that HTTP/2 tolerates.'),
})

const grpc = z.strictObject({
  endpoint: endpoint().default('127.0.0.1:4317').describe('Where to listen.'),
  insecure_bind: insecureBind,
  max_recv_msg_size_mib: z
    .number()
    .int()
    .positive()
    .max(1024)
    .default(DEFAULT_LIMIT_MIB)
    .describe('Largest request in MiB, after decompression.'),
  max_concurrent_streams: z
    .number()
    .int()
    .positive()
    .default(128)
    .describe('Requests under way per connection.'),
  keepalive: keepalive.prefault({}).describe('Pings and connection age.'),
  tls: serverTls.optional().describe('TLS and mTLS; absent: plain HTTP/2.'),
})

const http = z.strictObject({
  endpoint: endpoint().default('127.0.0.1:4318').describe('Where to listen.'),
  insecure_bind: insecureBind,
  traces_url_path: z.string().startsWith('/').default('/v1/traces').describe('The path that takes traces.'),
  max_request_body_size: byteSize()
    .prefault(DEFAULT_LIMIT_MIB * 1024 * 1024)
    .describe('Largest request in bytes, after decompression.'),
  ...httpServer,
})

export type GrpcConfig = z.output<typeof grpc>
export type HttpConfig = z.output<typeof http>

/** `grpc:` with nothing behind it means all defaults, as in the collector. */
const orDefaults = <S extends z.ZodType>(schema: S) =>
  schema.nullish().transform((value) => (value === null ? schema.parse({}) : value))

export const config = z.strictObject({
  protocols: z
    .strictObject({
      grpc: orDefaults(grpc).describe('OTLP over gRPC; on only if the key is present.'),
      http: orDefaults(http).describe('OTLP over HTTP, protobuf and JSON; on only if the key is present.'),
    })
    .refine((protocols) => protocols.grpc || protocols.http, {
      message: 'at least one protocol must be set: grpc, http or both',
    })
    .describe('The protocols that are served.'),
})
