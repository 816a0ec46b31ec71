import { z } from 'zod'
import type { Registry } from '../../pipeline/factory.ts'
import { jobConfig } from '../../pipeline/jobs/timing.ts'
import { byteSize, duration, endpoint, secret } from '../../pipeline/schema.ts'

/** A registry with one component per shape a config can have; the loader's tests use it instead of the real ones. */

const server = z.strictObject({
  endpoint: endpoint().default('127.0.0.1:4317').describe('Where to listen.'),
  max_size: byteSize().prefault('4MiB').describe('Largest request.'),
  timeout: duration().prefault('5s').describe('Time for a request.'),
})

const orDefaults = server.nullish().transform((value) => (value === null ? server.parse({}) : value))

const tcp = z.strictObject({
  protocols: z.strictObject({ grpc: orDefaults, http: orDefaults }).prefault({ grpc: {} }),
})

const store = z.strictObject({
  endpoint: z.string().default('embedded').describe('embedded or a URL.'),
  directory: z.string().default('./data/store').describe('Where the data rests.'),
  username: z.string().optional(),
  password: secret().optional(),
  headers: z.record(z.string(), z.string()).default({}),
  ttl: duration().prefault(0),
  retries: z.number().int().min(0).max(10).default(3),
  create: z.boolean().default(true),
  compress: z.enum(['none', 'lz4', 'zstd']).default('lz4'),
  columns: z.array(z.strictObject({ name: z.string().min(1), size: z.number().optional() })).default([]),
})

const journal = z.discriminatedUnion('driver', [
  z.strictObject({ driver: z.literal('embedded'), directory: z.string().default('./data/wal') }),
  z.strictObject({
    driver: z.literal('cluster'),
    servers: z.array(z.string()).min(1),
    replicas: z.number().default(1),
  }),
])

const none = z.strictObject({})

export const sampleRegistry: Registry = {
  receivers: [{ type: 'tcp', summary: 'Takes data.', config: tcp, load: unused }],
  processors: [{ type: 'price', aliases: ['cost'], summary: 'Prices data.', config: none, load: unused }],
  exporters: [
    { type: 'store', aliases: ['old_store'], summary: 'Keeps data.', config: store, load: unused },
    { type: 'print', aliases: ['debug'], summary: 'Prints data.', config: none, load: unused },
  ],
  connectors: [{ type: 'journal', summary: 'Keeps what was acknowledged.', config: journal, load: unused }],
  extensions: [{ type: 'ping', summary: 'Answers.', config: server, load: unused }],
  jobs: [{ type: 'tidy', summary: 'Tidies.', config: jobConfig({}), params: none, load: unused }],
}

/** Reading a config loads no component. */
function unused(): never {
  throw new Error('a config test must not load components')
}
