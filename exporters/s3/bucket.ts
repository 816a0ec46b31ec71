import { createHash } from 'node:crypto'
import type { SecureContextOptions } from 'node:tls'
import type { PutObjectCommandInput, S3Client, S3ClientConfig } from '@aws-sdk/client-s3'
import { awsClientOptions } from '../../pipeline/net/aws-client.ts'
import { clientContextOptions } from '../../pipeline/net/client-tls.ts'
import type { Config, Uploader } from './config.ts'

type Sdk = Awaited<ReturnType<typeof loadSdk>>

/** 25 MB and 0.3 s that a daemon without S3 does not pay. */
async function loadSdk() {
  const { HeadBucketCommand, PutObjectCommand, S3Client } = await import('@aws-sdk/client-s3')
  const { Upload } = await import('@aws-sdk/lib-storage')
  return { HeadBucketCommand, PutObjectCommand, S3Client, Upload }
}

/** Bodies above it go up in parts of this size. S3 takes at most 10,000 parts, of 5 MiB or more. */
export const PART_BYTES = 8 * 1024 * 1024
const PARTS_AT_ONCE = 2

export interface Put {
  readonly key: string
  readonly body: Uint8Array
  readonly contentType: string
  readonly storageClass?: Uploader['storage_class']
}

/** One bucket, through the AWS SDK. Throws the SDK's errors. */
export class Bucket {
  readonly #sdk: Sdk
  readonly #client: S3Client
  readonly #uploader: Uploader

  private constructor(sdk: Sdk, client: S3Client, uploader: Uploader) {
    this.#sdk = sdk
    this.#client = client
    this.#uploader = uploader
  }

  /** Reads the TLS files; asks the store nothing. */
  static async open(config: Config): Promise<Bucket> {
    const tls = config.tls === undefined ? {} : await clientContextOptions(config.tls)
    const sdk = await loadSdk()
    return new Bucket(sdk, new sdk.S3Client(clientConfig(config, tls)), config.s3uploader)
  }

  /** Replaces what has that key. S3 checks what it got by SHA-256; resolves with that of the body, hexadecimal. */
  async put(put: Put, signal: AbortSignal): Promise<string> {
    const digest = createHash('sha256').update(put.body).digest()
    const input = inputOf(this.#uploader, put)
    if (put.body.length <= PART_BYTES * 2) {
      const checked = { ...input, ChecksumSHA256: digest.toString('base64') }
      await this.#client.send(new this.#sdk.PutObjectCommand(checked), { abortSignal: signal })
    } else await this.#upload(input, signal)
    return digest.toString('hex')
  }

  async head(signal: AbortSignal): Promise<void> {
    const command = new this.#sdk.HeadBucketCommand({ Bucket: this.#uploader.s3_bucket })
    await this.#client.send(command, { abortSignal: signal })
  }

  close(): void {
    this.#client.destroy()
  }

  async #upload(input: PutObjectCommandInput, signal: AbortSignal): Promise<void> {
    const upload = new this.#sdk.Upload({
      client: this.#client,
      // Of each part.
      params: { ...input, ChecksumAlgorithm: 'SHA256' },
      partSize: PART_BYTES,
      queueSize: PARTS_AT_ONCE,
    })
    const abort = () => void upload.abort().catch(() => undefined)
    signal.addEventListener('abort', abort, { once: true })
    if (signal.aborted) abort()
    try {
      await upload.done()
    } finally {
      signal.removeEventListener('abort', abort)
    }
  }
}

function inputOf(
  { s3_bucket: Bucket, acl, server_side_encryption: sse, kms_key_id: kmsKeyId }: Uploader,
  { key, body, contentType, storageClass }: Put,
): PutObjectCommandInput & { readonly Body: Uint8Array } {
  return {
    Bucket,
    Key: key,
    Body: body,
    ContentType: contentType,
    ...(storageClass !== undefined && storageClass !== 'STANDARD' && { StorageClass: storageClass }),
    ...(acl !== undefined && { ACL: acl }),
    ...(sse !== undefined && { ServerSideEncryption: sse }),
    ...(kmsKeyId !== undefined && { SSEKMSKeyId: kmsKeyId }),
  }
}

function clientConfig({ s3uploader, timeout, tls }: Config, context: SecureContextOptions): S3ClientConfig {
  return {
    ...awsClientOptions(s3uploader, timeout, tls, context),
    forcePathStyle: s3uploader.s3_force_path_style,
    // The default adds trailers to every request that many compatible stores refuse; ours has a SHA-256 of its own.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
  }
}
