import type {
  CloudWatchLogsClient,
  CloudWatchLogsClientConfig,
  RejectedLogEventsInfo,
} from '@aws-sdk/client-cloudwatch-logs'
import { awsClientOptions } from '../../pipeline/net/aws-client.ts'
import { clientContextOptions } from '../../pipeline/net/client-tls.ts'
import { codeOf } from './answer.ts'
import type { Config } from './config.ts'
import type { Place } from './names.ts'
import type { PutRequest } from './requests.ts'

type Sdk = Awaited<ReturnType<typeof loadSdk>>

/** Much code, that a daemon without this exporter does not load. */
function loadSdk() {
  return import('@aws-sdk/client-cloudwatch-logs')
}

/** CloudWatch Logs, through the AWS SDK. Throws the SDK's errors. */
export class Logs {
  readonly #sdk: Sdk
  readonly #client: CloudWatchLogsClient
  readonly #config: Config
  /** Groups that were there once: likely only the stream is missing. */
  readonly #groups = new Set<string>()
  readonly #making = new Map<string, Promise<void>>()

  private constructor(sdk: Sdk, client: CloudWatchLogsClient, config: Config) {
    this.#sdk = sdk
    this.#client = client
    this.#config = config
  }

  /** Reads the TLS files; asks AWS nothing. */
  static async open(config: Config): Promise<Logs> {
    const tls = config.tls === undefined ? {} : await clientContextOptions(config.tls)
    const sdk = await loadSdk()
    const options: CloudWatchLogsClientConfig = awsClientOptions(config, config.timeout, config.tls, tls)
    const client = new sdk.CloudWatchLogsClient(options)
    if (config.emf !== undefined) markMetrics(client)
    return new Logs(sdk, client, config)
  }

  /** Makes group and stream where they are not there. Resolves with which events AWS left out. */
  async put(request: PutRequest, signal: AbortSignal): Promise<RejectedLogEventsInfo> {
    try {
      return await this.#put(request, signal)
    } catch (error) {
      if (codeOf(error) !== 'ResourceNotFoundException') throw error
      await this.#make(request.place, signal)
      return await this.#put(request, signal)
    }
  }

  /** Credentials that may only write are known by being refused. */
  async probe(signal: AbortSignal): Promise<void> {
    const command = new this.#sdk.DescribeLogGroupsCommand({ limit: 1 })
    await this.#client.send(command, { abortSignal: signal }).catch((error: unknown) => {
      if (codeOf(error) !== 'AccessDeniedException') throw error
    })
  }

  close(): void {
    this.#client.destroy()
  }

  async #put({ place, entries }: PutRequest, signal: AbortSignal): Promise<RejectedLogEventsInfo> {
    const command = new this.#sdk.PutLogEventsCommand({
      logGroupName: place.group,
      logStreamName: place.stream,
      logEvents: entries.map(({ timestamp, message }) => ({ timestamp, message })),
    })
    const { rejectedLogEventsInfo = {} } = await this.#client.send(command, { abortSignal: signal })
    return rejectedLogEventsInfo
  }

  async #make(place: Place, signal: AbortSignal): Promise<void> {
    if (this.#groups.has(place.group)) {
      try {
        return await this.#makeStream(place, signal)
      } catch (error) {
        if (codeOf(error) !== 'ResourceNotFoundException') throw error
      }
    }
    const making = this.#making.get(place.group) ?? this.#makeGroup(place.group, signal)
    this.#making.set(place.group, making)
    await making.finally(() => this.#making.delete(place.group))
    await this.#makeStream(place, signal)
  }

  /**
   * The retention is put before any stream is made: as a stream that is missing leads here, a group whose maker was
   * killed in between gets it later.
   */
  async #makeGroup(group: string, signal: AbortSignal): Promise<void> {
    const { log_retention: days, tags, kms_key_id: kmsKeyId, log_group_class: logGroupClass } = this.#config
    const command = new this.#sdk.CreateLogGroupCommand({
      logGroupName: group,
      ...(Object.keys(tags).length > 0 && { tags }),
      ...(kmsKeyId !== undefined && { kmsKeyId }),
      ...(logGroupClass !== 'STANDARD' && { logGroupClass }),
    })
    await this.#client.send(command, { abortSignal: signal }).catch((error: unknown) => {
      // Whoever may not make groups may still have been given this one: its streams tell.
      if (!['ResourceAlreadyExistsException', 'AccessDeniedException'].includes(codeOf(error))) throw error
    })
    if (days > 0) {
      const retention = new this.#sdk.PutRetentionPolicyCommand({
        logGroupName: group,
        retentionInDays: days,
      })
      await this.#client.send(retention, { abortSignal: signal })
    }
    this.#groups.add(group)
  }

  async #makeStream({ group, stream }: Place, signal: AbortSignal): Promise<void> {
    const command = new this.#sdk.CreateLogStreamCommand({ logGroupName: group, logStreamName: stream })
    await this.#client.send(command, { abortSignal: signal }).catch((error: unknown) => {
      if (codeOf(error) !== 'ResourceAlreadyExistsException') throw error
    })
  }
}

/** Says that events hold metrics, as the embedded metric format's specification wants it of requests. */
function markMetrics(client: CloudWatchLogsClient): void {
  client.middlewareStack.add(
    (next, { commandName }) =>
      (args) => {
        const { headers } = args.request as { headers: Record<string, string> }
        if (commandName === 'PutLogEventsCommand') headers['x-amzn-logs-format'] = 'json/emf'
        return next(args)
      },
    { step: 'build', name: 'weirMarkMetrics' },
  )
}
