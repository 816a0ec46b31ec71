import { createHash } from 'node:crypto'
import type { SecureContextOptions } from 'node:tls'
import type { PutObjectCommandInput, S3Client, S3ClientConfig } from '@aws-sdk/client-s3'
import { awsClientOptions } from '../net/aws-client.ts'
import { clientContextOptions } from '../net/client-tls.ts'
import type { BucketAccess, BucketOptions, StorageClass } from './access.ts'
import { isMissing } from './answer.ts'
import { presigned } from './presign.ts'

type Sdk = Awaited<ReturnType<typeof loadSdk>>

/** 25 MB and 0.3 s that a daemon without S3 does not pay. */
async function loadSdk() {
  const sdk = await import('@aws-sdk/client-s3')
  const { Upload } = await import('@aws-sdk/lib-storage')
  return { ...sdk, Upload }
}

/** Bodies above it go up in parts of this size. S3 takes at most 10,000 parts, of 5 MiB or more. */
export const PART_BYTES = 8 * 1024 * 1024
const PARTS_AT_ONCE = 2
/** Keys per page of a listing, at most. */
const PAGE_KEYS = 1000

export interface Put {
  readonly key: string
  readonly body: Uint8Array
  readonly contentType: string
  readonly storageClass?: StorageClass
}

/** An object as the store lists it. */
export interface Listed {
  readonly key: string
  readonly bytes: number
  /** Unix ms, of its last put. */
  readonly putMs: number
}

/** One bucket, through the AWS SDK. Throws the SDK's errors: see `unavailable`. */
export class Bucket {
  readonly #sdk: Sdk
  readonly #client: S3Client
  readonly #access: BucketAccess

  private constructor(sdk: Sdk, client: S3Client, access: BucketAccess) {
    this.#sdk = sdk
    this.#client = client
    this.#access = access
  }

  /** Reads the TLS files; asks the store nothing. */
  static async open(options: BucketOptions): Promise<Bucket> {
    const context = options.tls === undefined ? {} : await clientContextOptions(options.tls)
    const sdk = await loadSdk()
    return new Bucket(sdk, new sdk.S3Client(clientConfig(options, context)), options.access)
  }

  /** Replaces what has that key. S3 checks what it got by SHA-256; resolves with that of the body, hexadecimal. */
  async put(put: Put, signal: AbortSignal): Promise<string> {
    const digest = createHash('sha256').update(put.body).digest()
    const input = inputOf(this.#access, put)
    if (put.body.length <= PART_BYTES * 2) {
      const checked = { ...input, ChecksumSHA256: digest.toString('base64') }
      await this.#client.send(new this.#sdk.PutObjectCommand(checked), { abortSignal: signal })
    } else await this.#upload(input, signal)
    return digest.toString('hex')
  }

  /** Asks for the bucket itself. */
  async head(signal: AbortSignal): Promise<void> {
    const command = new this.#sdk.HeadBucketCommand({ Bucket: this.#access.s3_bucket })
    await this.#client.send(command, { abortSignal: signal })
  }

  /** Undefined: there is no object of that key. */
  async find(key: string, signal: AbortSignal): Promise<Listed | undefined> {
    const command = new this.#sdk.HeadObjectCommand({ Bucket: this.#access.s3_bucket, Key: key })
    const found = await this.#client.send(command, { abortSignal: signal }).catch(unlessMissing)
    if (found === undefined) return undefined
    return { key, bytes: found.ContentLength ?? 0, putMs: found.LastModified?.getTime() ?? 0 }
  }

  /** The whole object; undefined: there is none. Its caller knows that it is not large. */
  async get(
    key: string,
    signal: AbortSignal,
  ): Promise<{ readonly body: Buffer; readonly contentType: string } | undefined> {
    const command = new this.#sdk.GetObjectCommand({ Bucket: this.#access.s3_bucket, Key: key })
    const found = await this.#client.send(command, { abortSignal: signal }).catch(unlessMissing)
    if (found === undefined) return undefined
    const body = Buffer.from((await found.Body?.transformToByteArray()) ?? [])
    return { body, contentType: found.ContentType ?? 'application/octet-stream' }
  }

  /** Every object whose key begins so, by key. */
  async *list(prefix: string, signal: AbortSignal): AsyncGenerator<Listed> {
    let after: string | undefined
    do {
      const page = await this.#client.send(
        new this.#sdk.ListObjectsV2Command({
          Bucket: this.#access.s3_bucket,
          Prefix: prefix,
          MaxKeys: PAGE_KEYS,
          ContinuationToken: after,
        }),
        { abortSignal: signal },
      )
      for (const { Key = '', Size = 0, LastModified } of page.Contents ?? []) {
        yield { key: Key, bytes: Size, putMs: LastModified?.getTime() ?? 0 }
      }
      after = page.IsTruncated === true ? page.NextContinuationToken : undefined
    } while (after !== undefined)
  }

  /** No error when it is not there. */
  async remove(key: string, signal: AbortSignal): Promise<void> {
    const command = new this.#sdk.DeleteObjectCommand({ Bucket: this.#access.s3_bucket, Key: key })
    await this.#client.send(command, { abortSignal: signal })
  }

  /** A URL that gives the object to whoever has it, as an attachment of that name. Asks the store nothing. */
  link(key: string, filename: string, expiresInS: number): Promise<string> {
    const command = new this.#sdk.GetObjectCommand({
      Bucket: this.#access.s3_bucket,
      Key: key,
      ResponseContentDisposition: `attachment; filename="${filename}"`,
      ResponseCacheControl: 'private, no-store',
    })
    return presigned(this.#client, command, expiresInS)
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

function unlessMissing(error: unknown): undefined {
  if (!isMissing(error)) throw error
}

function inputOf(
  { s3_bucket: Bucket, acl, server_side_encryption: sse, kms_key_id: kmsKeyId }: BucketAccess,
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

function clientConfig(
  { access, timeoutMs, tls }: BucketOptions,
  context: SecureContextOptions,
): S3ClientConfig {
  return {
    ...awsClientOptions(access, timeoutMs, tls, context),
    forcePathStyle: access.s3_force_path_style,
    // The default adds trailers to every request that many compatible stores refuse; ours has a SHA-256 of its own.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
  }
}
