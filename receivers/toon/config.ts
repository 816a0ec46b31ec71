import { z } from 'zod'
import { httpServer, insecureBind } from '../../pipeline/net/server-config.ts'
import { byteSize, duration, endpoint } from '../../pipeline/schema.ts'

const MIB = 1024 * 1024

const limits = z.strictObject({
  max_events: z.number().int().min(1).max(10_000).default(200).describe('Events in a request.'),
  max_event_size: byteSize().prefault(MIB).describe('One event.'),
  max_payload_size: byteSize()
    .prefault(MIB / 2)
    .describe('The payload of one event, as canonical JSON.'),
  max_depth: z.number().int().min(4).max(256).default(64).describe('Lists and objects within each other.'),
})

const runs = z.strictObject({
  idle_timeout: duration()
    .prefault('24h')
    .describe('A run without events for this long is closed as `abandoned`.'),
  remember: duration()
    .prefault('168h')
    .describe('How long idempotency keys, and ended runs, are remembered.'),
  max_idempotency_keys: z
    .number()
    .int()
    .positive()
    .default(1_000_000)
    .describe('Keys of a tenant that are remembered; over it the oldest leave first, counted.'),
})

export const config = z.strictObject({
  endpoint: endpoint().default('127.0.0.1:4319').describe('Where to listen.'),
  insecure_bind: insecureBind,
  max_request_body_size: byteSize()
    .prefault(10 * MIB)
    .describe('Largest request in bytes, after decompression.'),
  limits: limits.prefault({}).describe('What a request may hold.'),
  runs: runs.prefault({}).describe('How long runs live.'),
  ...httpServer,
})

export type ToonConfig = z.output<typeof config>
