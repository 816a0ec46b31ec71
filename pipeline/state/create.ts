import { z } from 'zod'
import { natsFields } from '../nats/options.ts'
import { masterKeyBytes, Vault } from '../identity/vault.ts'
import { secret } from '../schema.ts'
import type { Log } from '../telemetry/log.ts'
import type { StateStore } from './state.ts'

const BUCKET = /^[A-Za-z0-9_-]+$/

const masterKey = () =>
  secret().refine(
    (key) => masterKeyBytes(key.reveal()) !== undefined,
    'must be 32 bytes in hex or base64, as `openssl rand -base64 32` makes them',
  )

const vaultFields = {
  master_key: masterKey()
    .optional()
    .describe(
      'Seals the secrets that weir must read again (HMAC secrets): 32 bytes in hex or base64, as ${env:…} or ${file:…}. The same in every daemon. Without it there are no HMAC secrets.',
    ),
  previous_master_keys: z
    .array(masterKey())
    .max(8)
    .optional()
    .describe('Still open what they have sealed, until `weir key reseal` was run.'),
}

const audit = z
  .strictObject({
    when_unavailable: z
      .enum(['refuse', 'count'])
      .default('refuse')
      .describe(
        'What becomes of a read or a change that cannot be written to the audit log: refused (503), or done and counted in `weir_audit_failures`. Intake goes on either way.',
      ),
    key_file: z
      .string()
      .min(1)
      .optional()
      .describe(
        'Where the private key that signs the log is kept when there is no master_key. Default: `audit.key` in the directory; with `jetstream` none, and the log is then chained but not signed.',
      ),
  })
  .describe('The audit log, which is kept in this store.')

const embeddedStateSchema = z.strictObject({
  driver: z
    .literal('embedded')
    .default('embedded')
    .describe(
      '`embedded`: LMDB, one machine, nothing to install. `jetstream`: a key-value bucket that many daemons share.',
    ),
  directory: z.string().min(1).default('./data/state').describe('Directory of the LMDB file.'),
  ...vaultFields,
  audit: audit.prefault({}),
})

const jetStreamStateSchema = z.strictObject({
  driver: z.literal('jetstream').describe('A JetStream key-value bucket: many daemons share it.'),
  ...natsFields,
  bucket: z
    .string()
    .regex(BUCKET)
    .default('weir')
    .describe('Name of the bucket; made if absent, checked if present.'),
  replicas: z
    .number()
    .int()
    .min(1)
    .max(5)
    .default(1)
    .describe('Copies of the bucket in a cluster (1, 3 or 5).'),
  ...vaultFields,
  audit: audit.prefault({}),
})

export const stateSchema = z.discriminatedUnion('driver', [embeddedStateSchema, jetStreamStateSchema])

export type StateConfig = z.output<typeof stateSchema>

/** What a config without a `state` extension gets. */
export const DEFAULT_STATE: StateConfig = embeddedStateSchema.parse({})

/** The configured store, not yet open; of the drivers' code only that of the configured one is loaded. */
export async function createStateStore(config: StateConfig, log: Log): Promise<StateStore> {
  if (config.driver === 'embedded') {
    const { EmbeddedState } = await import('./embedded.ts')
    return new EmbeddedState(config.directory)
  }
  const { JetStreamState } = await import('./jetstream.ts')
  return new JetStreamState({ nats: config, bucket: config.bucket, replicas: config.replicas, log })
}

/** What seals secrets; undefined without a master key. */
export function createVault(config: StateConfig): Vault | undefined {
  return config.master_key && new Vault(config.master_key, config.previous_master_keys)
}
