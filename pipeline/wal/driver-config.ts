import { z } from 'zod'
import { natsFields } from '../nats/options.ts'
import { byteSize } from '../schema.ts'
import type { Log } from '../telemetry/log.ts'
import type { WalDriver } from './driver.ts'

const durability = z
  .enum(['process', 'strict'])
  .default('process')
  .describe(
    'What an acknowledgement survives: `process` kill -9 of any process, `strict` a power cut (proved at start).',
  )

const maxBytes = byteSize().prefault('8GiB').describe('The WAL’s size. Full means refuse, never drop.')

const NAME = /^[A-Za-z0-9_-]+$/
const SUBJECT = /^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$/

/** Keys of `driver: embedded`. */
export const embeddedWalFields = {
  directory: z.string().min(1).default('./data/wal').describe('Directory of the LMDB file.'),
  max_bytes: maxBytes,
  durability,
} as const

/** Keys of `driver: jetstream`. */
export const jetStreamWalFields = {
  ...natsFields,
  stream: z
    .string()
    .regex(NAME)
    .default('WEIR')
    .describe('Name of the stream; made if absent, checked if present.'),
  subject_prefix: z
    .string()
    .regex(SUBJECT)
    .default('weir')
    .describe('Messages go to `<prefix>.<signal>.<tenant>`.'),
  replicas: z
    .number()
    .int()
    .min(1)
    .max(5)
    .default(1)
    .describe('Copies of the stream in a cluster (1, 3 or 5).'),
  max_bytes: maxBytes,
  durability,
  monitor_url: z
    .url()
    .optional()
    .describe('nats-server’s monitoring address, asked by `strict` for `sync_interval: always`.'),
  store_dir: z
    .string()
    .optional()
    .describe('The server’s store directory on this machine, which `strict` looks at for `chattr +S`.'),
} as const

type Fields<T extends z.ZodRawShape> = z.output<z.ZodObject<T>>
type EmbeddedWalConfig = { readonly driver: 'embedded' } & Fields<typeof embeddedWalFields>
type JetStreamWalConfig = { readonly driver: 'jetstream' } & Fields<typeof jetStreamWalFields>
/** What a connector's schema gives when it spreads the fields of each driver; `driver` decides. */
export type WalDriverConfig = EmbeddedWalConfig | JetStreamWalConfig

export interface WalDriverContext {
  readonly log: Log
  readonly clock: () => number
}

/** Loads the code of the configured driver only; what it gives makes the driver, not yet open. */
export async function loadWalDriver(
  config: WalDriverConfig,
): Promise<(context: WalDriverContext) => WalDriver> {
  if (config.driver === 'embedded') {
    const { EmbeddedWal } = await import('./embedded.ts')
    const { directory, max_bytes: maxBytes, durability } = config
    return ({ clock }) => new EmbeddedWal({ directory, maxBytes, durability, clock })
  }
  const { JetStreamWal } = await import('./jetstream.ts')
  const options = {
    nats: config,
    stream: config.stream,
    subjectPrefix: config.subject_prefix,
    replicas: config.replicas,
    maxBytes: config.max_bytes,
    durability: config.durability,
    monitorUrl: config.monitor_url,
    storeDir: config.store_dir,
  }
  return ({ log }) => new JetStreamWal({ ...options, log })
}
