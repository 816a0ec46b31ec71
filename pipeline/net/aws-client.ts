import { Agent as HttpAgent } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import type { SecureContextOptions } from 'node:tls'
import { z } from 'zod'
import { secret } from '../schema.ts'
import type { Secret } from '../secret.ts'
import type { ClientTls } from './client-tls.ts'

/** Config keys of whoever talks to AWS; check them with `hasBothKeys`. */
export const awsCredentials = {
  access_key_id: z
    .string()
    .min(1)
    .optional()
    .describe(
      'Left out: environment, shared files, web identity, container or instance role, as in every AWS SDK.',
    ),
  secret_access_key: secret().optional().describe('Of `access_key_id`.'),
  session_token: secret().optional().describe('Of temporary credentials.'),
}

export const awsRetries = {
  retry_mode: z
    .enum(['standard', 'adaptive', 'nop'])
    .default('standard')
    .describe('How the SDK repeats a request; `nop`: it does not. The WAL repeats without end.'),
  retry_max_attempts: z.int().min(1).max(20).default(3).describe('Attempts of the SDK, the first included.'),
}

interface Credentials {
  readonly access_key_id?: string | undefined
  readonly secret_access_key?: Secret | undefined
  readonly session_token?: Secret | undefined
}

export function hasBothKeys({ access_key_id: id, secret_access_key: key }: Credentials): boolean {
  return (id === undefined) === (key === undefined)
}

export interface AwsAccess extends Credentials {
  readonly region: string
  readonly endpoint?: string | undefined
  readonly retry_mode: 'standard' | 'adaptive' | 'nop'
  readonly retry_max_attempts: number
}

const MAX_SOCKETS = 16
const CONNECT_MS = 5000

/** What the constructor of any client of the AWS SDK is given. `timeoutMs`: of one attempt of one request. */
export function awsClientOptions(
  access: AwsAccess,
  timeoutMs: number,
  tls: ClientTls | undefined,
  context: SecureContextOptions,
) {
  return {
    region: access.region,
    maxAttempts: access.retry_mode === 'nop' ? 1 : access.retry_max_attempts,
    retryMode: access.retry_mode === 'adaptive' ? 'adaptive' : 'standard',
    requestHandler: {
      connectionTimeout: Math.min(CONNECT_MS, timeoutMs),
      requestTimeout: timeoutMs,
      throwOnRequestTimeout: true,
      httpAgent: new HttpAgent({ keepAlive: true, maxSockets: MAX_SOCKETS }),
      httpsAgent: new HttpsAgent({ keepAlive: true, maxSockets: MAX_SOCKETS, ...context, ...nameCheck(tls) }),
    },
    ...(access.endpoint !== undefined && { endpoint: access.endpoint }),
    ...(access.access_key_id !== undefined && {
      credentials: {
        accessKeyId: access.access_key_id,
        secretAccessKey: access.secret_access_key?.reveal() ?? '',
        ...(access.session_token !== undefined && { sessionToken: access.session_token.reveal() }),
      },
    }),
  }
}

function nameCheck(tls: ClientTls | undefined): { rejectUnauthorized?: false; servername?: string } {
  return {
    ...(tls?.insecure_skip_verify === true && { rejectUnauthorized: false }),
    ...(tls?.server_name_override !== undefined && { servername: tls.server_name_override }),
  }
}
