import { messageOf, retry, type Fault } from '../../pipeline/fault.ts'
import type { Place } from './names.ts'

/** What of the SDK's errors is read. */
interface ServiceError {
  readonly name?: string
  readonly $metadata?: { readonly httpStatusCode?: number }
}

/** Nothing changes these but somebody's hand: no need to ask every second. */
const SETTING_RETRY_MS = 10_000
const LONGEST_MESSAGE = 300

/** Error codes that a setting or a right must change, and which. */
function remedyOf(code: string): string | undefined {
  switch (code) {
    case 'AccessDeniedException':
      return 'the credentials may not do this: allow logs:PutLogEvents and logs:CreateLogStream; where groups are made also logs:CreateLogGroup, logs:PutRetentionPolicy, logs:TagResource'
    case 'ResourceNotFoundException':
      return 'the log group is not there and may not be made: create it, or allow logs:CreateLogGroup'
    case 'LimitExceededException':
    case 'ServiceQuotaExceededException':
      return 'the account has as many log groups as it may: raise the quota, or correct log_group_name'
    case 'UnrecognizedClientException':
    case 'InvalidClientTokenId':
    case 'InvalidSignatureException':
    case 'IncompleteSignature':
    case 'MissingAuthenticationTokenException':
    case 'ExpiredTokenException':
    case 'CredentialsProviderError':
      return 'the credentials are missing, wrong or expired: set access_key_id and secret_access_key, or what the AWS SDK looks for (the clock of this machine must be right, too)'
    default:
      return undefined
  }
}

/** The SDK's error is not kept as a cause: it holds the request, signature included. */
export function unavailable(id: string, error: unknown, place?: Place): Fault {
  const code = codeOf(error)
  const where = place === undefined ? id : `${id}: ${place.group} ${place.stream}`
  const remedy = remedyOf(code)
  if (remedy !== undefined)
    return retry('EXPORT_UNAVAILABLE', `${where}: ${remedy} (${code})`, SETTING_RETRY_MS)
  const status = (error as ServiceError | undefined)?.$metadata?.httpStatusCode
  return retry(
    'EXPORT_UNAVAILABLE',
    `${where}: ${code}${status === undefined ? '' : ` ${status}`}: ${saidBy(error)}`,
  )
}

export function codeOf(error: unknown): string {
  return (error as ServiceError | undefined)?.name ?? ''
}

export function saidBy(error: unknown): string {
  return messageOf(error).slice(0, LONGEST_MESSAGE)
}

/** PutLogEvents will never take these events; another number of them perhaps. */
export function isRefusal(error: unknown): boolean {
  const status = (error as ServiceError | undefined)?.$metadata?.httpStatusCode
  return status === 413 || ['InvalidParameterException', 'ValidationException'].includes(codeOf(error))
}
