import { z } from 'zod'
import { byteSize, duration } from '../../pipeline/schema.ts'
import { embeddedWalFields, jetStreamWalFields } from '../../pipeline/wal/driver-config.ts'

const whenFull = z.enum(['refuse', 'skip'])

const common = {
  keep: duration()
    .prefault('168h')
    .describe(
      'What every exporter has passed stays this long, for replay; above 80 % of `max_bytes` it goes earlier.',
    ),
  start_at: z
    .enum(['latest', 'earliest'])
    .default('latest')
    .describe(
      'Where a new exporter starts: behind what is stored when it is first seen, or at its oldest message.',
    ),
  when_full: z
    .union([whenFull, z.record(z.string(), whenFull)])
    .default('refuse')
    .describe(
      'What gives way when the WAL is full of what an exporter has not taken: `refuse` new data, or `skip` that ' +
        'exporter’s oldest. One word for all, or exporter id → word.',
    ),
  pending_bytes: byteSize()
    .prefault('64MiB')
    .describe('Bytes that may wait to become durable; over it senders are told to come again.'),
  lag_alarm: duration()
    .prefault('5m')
    .describe('An exporter whose oldest undelivered message is older makes the daemon degraded.'),
  dead_letters: z
    .strictObject({
      max_bytes: byteSize()
        .prefault('64MiB')
        .describe('Bytes of dead letters that are kept; the oldest leave first, counted.'),
      max_age: duration()
        .prefault('720h')
        .describe('How long a dead letter is kept since it was last written. 0: as long as there is room.'),
    })
    .prefault({})
    .describe('Spans that a destination will never take, with the reason.'),
} as const

const embedded = z.strictObject({
  driver: z.literal('embedded').describe('LMDB in a directory of this machine.'),
  ...embeddedWalFields,
  ...common,
})

const jetstream = z.strictObject({
  driver: z.literal('jetstream').describe('A stream of NATS JetStream, shared by many daemons.'),
  ...jetStreamWalFields,
  ...common,
})

export const config = z.discriminatedUnion('driver', [embedded, jetstream])

export type WalConfig = z.output<typeof config>
