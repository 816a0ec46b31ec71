import { z } from 'zod'
import { runs } from '../../pipeline/agent/config.ts'
import { httpServer, insecureBind } from '../../pipeline/net/server-config.ts'
import { byteSize, endpoint } from '../../pipeline/schema.ts'

const MIB = 1024 * 1024

const limits = z.strictObject({
  max_events: z.number().int().min(1).max(10_000).default(200).describe('Events in a request.'),
  max_event_size: byteSize().prefault(MIB).describe('One event.'),
  max_payload_size: byteSize()
    .prefault(MIB / 2)
    .describe('The payload of one event, as canonical JSON.'),
  max_depth: z.number().int().min(4).max(256).default(64).describe('Lists and objects within each other.'),
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
