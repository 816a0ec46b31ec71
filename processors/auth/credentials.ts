import type { Head } from '../../pipeline/admission.ts'

/** Headers (gRPC metadata) that carry credentials; any of them twice is an attempt to be two senders at once. */
export const HEADERS = {
  authorization: 'authorization',
  apiKey: 'x-api-key',
  key: 'x-weir-key',
  timestamp: 'x-weir-timestamp',
  nonce: 'x-weir-nonce',
  digest: 'x-weir-content-sha256',
  signature: 'x-weir-signature',
} as const

/** The name of a header that stands there more than once. */
export function duplicated(head: Head): string | undefined {
  return Object.values(HEADERS).find((name) => head.header(name).length > 1)
}

/** The text after `Bearer`; undefined when there is no such header. `''` when it is of another scheme. */
export function bearer(head: Head): string | undefined {
  const [value] = head.header(HEADERS.authorization)
  if (value === undefined) return undefined
  return /^Bearer +([^\s,]+)$/i.exec(value.trim())?.[1] ?? ''
}

/** API keys begin so; whatever else comes as a bearer token is a JWT, or nothing. */
export function looksLikeKey(token: string): boolean {
  return token.startsWith('weir_')
}
