import { createHash, createHmac } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'

export interface SignedRequest {
  readonly method: string
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly body: Uint8Array
}

const AUTHORIZATION =
  /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/([^/]+)\/aws4_request, SignedHeaders=([^,]+), Signature=([0-9a-f]{64})$/

/**
 * Whether a request without a query is signed by these keys for this service, as AWS's documentation of Signature
 * Version 4 has it; by hand, not by the SDK that signed.
 */
export function isSigned(
  { method, path, headers, body }: SignedRequest,
  keys: { readonly id: string; readonly secret: string; readonly region: string; readonly service: string },
): boolean {
  const match = AUTHORIZATION.exec(headers.authorization ?? '')
  if (match === null) return false
  const [, id, day = '', region = '', service = '', names = '', signature] = match
  const time = String(headers['x-amz-date'])
  if (id !== keys.id || region !== keys.region || service !== keys.service) return false
  if (!time.startsWith(day) || !names.split(';').includes('host')) return false
  const lines = names
    .split(';')
    .map((name) => `${name}:${String(headers[name]).trim().replace(/\s+/g, ' ')}\n`)
  const canonical = [method, path, '', lines.join(''), names, sha256(body)].join('\n')
  const toSign = ['AWS4-HMAC-SHA256', time, `${day}/${region}/${service}/aws4_request`, sha256(canonical)]
  const key = [day, region, service, 'aws4_request'].reduce<string | Buffer>(
    (previous, part) => createHmac('sha256', previous).update(part).digest(),
    `AWS4${keys.secret}`,
  )
  return createHmac('sha256', key).update(toSign.join('\n')).digest('hex') === signature
}

function sha256(data: string | Uint8Array): string {
  return createHash('sha256').update(data).digest('hex')
}
