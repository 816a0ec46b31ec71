import { z } from 'zod'
import { byteSize, duration } from '../../pipeline/schema.ts'
import { MAX_EXPIRY_DAYS } from '../../pipeline/run-replay/cache.ts'

export const config = z.strictObject({
  expiry: duration()
    .prefault('168h')
    .refine((ms) => ms >= 60_000 && ms <= MAX_EXPIRY_DAYS * 86_400_000, {
      error: `must lie between 1m and ${MAX_EXPIRY_DAYS * 24}h`,
    })
    .describe('How long an answer is kept after the log took it.'),
  max_bytes_per_tenant: byteSize()
    .prefault('256MiB')
    .describe('Most bytes of a tenant in the state store, as sealed; above it its oldest day leaves first.'),
})

export type ReplayCacheConfig = z.output<typeof config>
