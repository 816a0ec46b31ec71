import {
  DiscardPolicy,
  JetStreamApiCodes,
  JetStreamApiError,
  RetentionPolicy,
  StorageType,
  type JetStreamClient,
  type JetStreamManager,
  type StreamConfig,
} from '@nats-io/jetstream'
import { Kvm, type KV } from '@nats-io/kv'
import { messageOf, reject, type Fault } from '../fault.ts'

export interface BucketOptions {
  readonly bucket: string
  readonly replicas: number
}

const FORMAT = 1
/** A token that `stateKey` never makes: it lies outside every prefix and is left out of lists. */
export const FORMAT_KEY = '=weir.format'

/** Opens the bucket, making it if absent; refuses one that would lose records, or that a newer weir has written. */
export async function openBucket(
  js: JetStreamClient,
  jsm: JetStreamManager,
  options: BucketOptions,
): Promise<KV> {
  try {
    // allow_direct answers from any replica, possibly with an old value: compare-and-set would still be right, reads not.
    const kv = await new Kvm(js).create(options.bucket, {
      history: 1,
      storage: StorageType.File,
      replicas: options.replicas,
      allow_direct: false,
    })
    const { config } = await jsm.streams.info(streamOf(options.bucket))
    checkBucket(config, options.bucket)
    await checkFormat(kv, options.bucket)
    return kv
  } catch (error) {
    if ((error as Fault).name === 'Fault') throw error
    throw reject(
      'START_FAILED',
      `cannot open the state bucket ${options.bucket} with replicas ${options.replicas}: ${messageOf(error)}. ` +
        'Is JetStream on, and are there as many servers?',
      { cause: error },
    )
  }
}

export function streamOf(bucket: string): string {
  return `KV_${bucket}`
}

function checkBucket(config: StreamConfig, bucket: string): void {
  const wrong =
    (config.storage !== StorageType.File && 'storage: memory loses all at a restart; it must be file') ||
    (config.retention !== RetentionPolicy.Limits && 'retention: it must be limits') ||
    (config.max_age !== 0 && 'ttl: records would disappear with age; it must be 0') ||
    (config.discard !== DiscardPolicy.New &&
      'discard: old records would give way to new ones; it must be new')
  if (wrong === false) return
  throw reject(
    'START_FAILED',
    `the bucket ${bucket} is not fit for weir’s state: ${wrong}. Edit stream ${streamOf(bucket)}, or set \`bucket\` to another name`,
  )
}

async function checkFormat(kv: KV, bucket: string): Promise<void> {
  const entry = await kv.get(FORMAT_KEY)
  if (entry === null) {
    await kv.create(FORMAT_KEY, String(FORMAT)).catch(ignoreConflict)
    return
  }
  const format = Number(entry.string())
  if (format <= FORMAT) return
  throw reject(
    'STATE_VERSION',
    `the bucket ${bucket} has state format ${format}, this weir knows ${FORMAT}: run the newer version, or use another bucket`,
  )
}

/** Another daemon made it at the same moment. */
function ignoreConflict(error: unknown): void {
  if (!isConflict(error)) throw error
}

export function isConflict(error: unknown): boolean {
  return (
    error instanceof JetStreamApiError &&
    (error.code === JetStreamApiCodes.StreamWrongLastSequence ||
      error.code === JetStreamApiCodes.StreamWrongLastSequenceUnknown)
  )
}
