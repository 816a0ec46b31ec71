import {
  DiscardPolicy,
  JetStreamApiError,
  RetentionPolicy,
  StorageType,
  type JetStreamManager,
  type StreamConfig,
  type StreamInfo,
} from '@nats-io/jetstream'
import { messageOf, reject, type Fault } from '../fault.ts'
import type { Log } from '../telemetry/log.ts'

export interface StreamOptions {
  readonly stream: string
  readonly subjectPrefix: string
  readonly replicas: number
  readonly maxBytes: number
}

const STREAM_NOT_FOUND = 10059
const NANOS_PER_MINUTE = 60_000_000_000
/** Guards the publisher's own retry over long outages; member digests are what makes deduplication exact. */
const DUPLICATE_WINDOW = 20 * NANOS_PER_MINUTE

/** Makes the stream if it is absent; checks one that is there, adjusts what may be adjusted, refuses what would lose data. */
export async function prepareStream(jsm: JetStreamManager, options: StreamOptions, log: Log): Promise<void> {
  const info = await find(jsm, options.stream)
  if (info === undefined) {
    await add(jsm, options)
    return
  }
  for (const [field, wrong] of Object.entries(RULES)) {
    const why = wrong(info.config, options)
    if (why !== undefined) throw refuse(options.stream, field, why)
  }
  const changes = adjustments(info.config, options)
  if (Object.keys(changes).length === 0) return
  log.info({ stream: options.stream, changes }, 'adjusting the WAL stream to the configuration')
  await attempt(options, () => jsm.streams.update(options.stream, changes))
}

async function find(jsm: JetStreamManager, stream: string): Promise<StreamInfo | undefined> {
  try {
    return await jsm.streams.info(stream)
  } catch (error) {
    if (error instanceof JetStreamApiError && error.code === STREAM_NOT_FOUND) return undefined
    throw reject(
      'START_FAILED',
      `cannot ask NATS about stream ${stream}: ${messageOf(error)}. Is JetStream on?`,
      {
        cause: error,
      },
    )
  }
}

async function add(jsm: JetStreamManager, options: StreamOptions): Promise<void> {
  await attempt(options, () =>
    jsm.streams.add({
      name: options.stream,
      subjects: [subjectsOf(options)],
      retention: RetentionPolicy.Limits,
      storage: StorageType.File,
      discard: DiscardPolicy.New,
      max_age: 0,
      max_msgs: -1,
      max_msgs_per_subject: -1,
      max_msg_size: -1,
      max_bytes: options.maxBytes,
      num_replicas: options.replicas,
      duplicate_window: DUPLICATE_WINDOW,
    }),
  )
}

async function attempt(options: StreamOptions, change: () => Promise<unknown>): Promise<void> {
  try {
    await change()
  } catch (error) {
    throw reject(
      'START_FAILED',
      `NATS refuses stream ${options.stream} with max_bytes ${options.maxBytes}, replicas ${options.replicas}, ` +
        `subjects ${subjectsOf(options)}: ${messageOf(error)}. Correct these keys or the server's limits`,
      { cause: error },
    )
  }
}

function subjectsOf(options: StreamOptions): string {
  return `${options.subjectPrefix}.*.*`
}

/** Fields that newer servers have and the client's types do not all name. */
type StoredConfig = StreamConfig & { readonly persist_mode?: string }
type Rule = (config: StoredConfig, options: StreamOptions) => string | undefined

/** What a stream that someone else made must not be; each says what to do. */
const RULES: Readonly<Record<string, Rule>> = {
  storage: (config) =>
    unless(config.storage === StorageType.File, 'memory storage loses all at a restart; it must be file'),
  retention: (config) =>
    unless(
      config.retention === RetentionPolicy.Limits,
      'other retention deletes what a reader has not seen; it must be limits',
    ),
  discard: (config) =>
    unless(
      config.discard === DiscardPolicy.New,
      'discard old drops undelivered messages when full; it must be new',
    ),
  max_age: (config) => unless(config.max_age === 0, 'age deletes undelivered messages; it must be 0'),
  max_msgs: (config) => unless(config.max_msgs <= 0, 'it must be -1: max_bytes bounds the WAL'),
  max_msgs_per_subject: (config) =>
    unless(config.max_msgs_per_subject <= 0, 'it deletes a tenant’s older messages; it must be -1'),
  persist_mode: (config) =>
    unless(config.persist_mode !== 'async', 'async acknowledges before it stores; it must be default'),
  no_ack: (config) => unless(!config.no_ack, 'without acks nothing is known to be stored; it must be false'),
  deny_purge: (config) => unless(!config.deny_purge, 'the trimmer must be able to purge; it must be false'),
  sealed: (config) => unless(!config.sealed, 'a sealed stream takes no messages'),
  subjects: (config, options) =>
    unless(
      config.subjects?.length === 1 && config.subjects[0] === subjectsOf(options),
      `it has [${(config.subjects ?? []).join(', ')}] where weir writes ${subjectsOf(options)}`,
    ),
}

function unless(fine: boolean, why: string): string | undefined {
  return fine ? undefined : why
}

function refuse(stream: string, field: string, why: string): Fault {
  return reject(
    'START_FAILED',
    `stream ${stream} is not fit for a WAL: ${field}: ${why}. ` +
      `Edit it (\`nats stream edit ${stream}\`), or set \`stream\` to another name and weir makes one`,
  )
}

function adjustments(config: StreamConfig, options: StreamOptions): Partial<StreamConfig> {
  return {
    ...(config.max_bytes !== options.maxBytes && { max_bytes: options.maxBytes }),
    ...(config.num_replicas !== options.replicas && { num_replicas: options.replicas }),
    ...(config.duplicate_window < DUPLICATE_WINDOW && { duplicate_window: DUPLICATE_WINDOW }),
  }
}
