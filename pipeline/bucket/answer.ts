import { messageOf, retry, type Fault } from '../fault.ts'
import type { BucketAccess } from './access.ts'

/** What of the SDK's errors is read. */
interface ServiceError {
  readonly name?: string
  readonly message?: string
  readonly $metadata?: { readonly httpStatusCode?: number }
}

/** Nothing changes these but somebody's hand: no need to ask every second. */
const SETTING_RETRY_MS = 10_000
const LONGEST_MESSAGE = 300

/** Error codes that a setting or a right must change, and which. */
function remedyOf(code: string, { s3_bucket: bucket, region }: BucketAccess): string | undefined {
  switch (code) {
    case 'NoSuchBucket':
    case 'NotFound':
      return `bucket ${bucket} does not exist there: create it, or correct s3_bucket, region or endpoint`
    case 'AccessDenied':
    case 'AllAccessDisabled':
    case 'AccountProblem':
      return `the credentials may not use ${bucket}: allow s3:PutObject and s3:AbortMultipartUpload, for artifacts also s3:GetObject (with aws:kms also kms:GenerateDataKey and kms:Decrypt)`
    case 'InvalidAccessKeyId':
    case 'SignatureDoesNotMatch':
    case 'InvalidToken':
    case 'ExpiredToken':
    case 'TokenRefreshRequired':
    case 'CredentialsProviderError':
      return 'the credentials are missing, wrong or expired: set access_key_id and secret_access_key, or what the AWS SDK looks for'
    case 'PermanentRedirect':
    case 'AuthorizationHeaderMalformed':
    case 'IllegalLocationConstraintException':
      return `bucket ${bucket} is not in region ${region}: correct region`
    case 'AccessControlListNotSupported':
      return `bucket ${bucket} has no ACLs: leave out acl`
    case 'InvalidStorageClass':
      return 'the store does not know storage_class'
    case 'RequestTimeTooSkewed':
      return 'the clock of this machine is off by more than 15 minutes'
    default:
      return code.startsWith('KMS.')
        ? 'the KMS key cannot be used: correct kms_key_id or its policy'
        : undefined
  }
}

/**
 * Whatever S3 says, it is asked again: there is nothing that it would never take. What only a setting can change says
 * which. The SDK's error is not kept as a cause: it holds the request, signature included.
 */
export function unavailable(id: string, error: unknown, access: BucketAccess): Fault {
  const { name = '', $metadata } = (error ?? {}) as ServiceError
  const remedy = remedyOf(name, access)
  const status = $metadata?.httpStatusCode === undefined ? '' : ` ${$metadata.httpStatusCode}`
  const said = messageOf(error).slice(0, LONGEST_MESSAGE)
  if (remedy === undefined) return retry('EXPORT_UNAVAILABLE', `${id}: ${name}${status}: ${said}`)
  return retry('EXPORT_UNAVAILABLE', `${id}: ${remedy} (${name}${status})`, SETTING_RETRY_MS)
}

/** There is no object of that key. */
export function isMissing(error: unknown): boolean {
  const { name, $metadata } = (error ?? {}) as ServiceError
  return name === 'NoSuchKey' || (name === 'NotFound' && $metadata?.httpStatusCode === 404)
}

export function isForbidden(error: unknown): boolean {
  return (error as ServiceError | undefined)?.$metadata?.httpStatusCode === 403
}
