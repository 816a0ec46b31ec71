import { status } from '@grpc/grpc-js'
import type { OutgoingHttpHeaders } from 'node:http2'
import type { Refused } from '../../pipeline/net/refusal.ts'
import { wireStatus, type WireStatus } from '../../pipeline/status.ts'
import { richStatus } from './reply.ts'

/** gRPC over HTTP/2, "Responses": headers, the message, trailers. */
export const RESPONSE_HEADERS: OutgoingHttpHeaders = {
  ':status': 200,
  'content-type': 'application/grpc+proto',
}
export const OK_TRAILERS: OutgoingHttpHeaders = { 'grpc-status': '0' }

/** Senders take 8 KiB of headers at least; the message may quote what they sent. */
const MAX_MESSAGE_CHARS = 512

/** An answer of trailers alone. RetryInfo stands in the details exactly when a retry may help: without it RESOURCE_EXHAUSTED is final. */
export function statusHeaders({ grpc, message: whole, retryAfterMs }: StatusFacts): OutgoingHttpHeaders {
  const message = whole.length <= MAX_MESSAGE_CHARS ? whole : `${whole.slice(0, MAX_MESSAGE_CHARS - 1)}…`
  return {
    ...RESPONSE_HEADERS,
    // What a sender whose encoding was refused may use instead.
    'grpc-accept-encoding': 'identity,deflate,gzip',
    'grpc-status': String(grpc),
    'grpc-message': encodeURI(message.toWellFormed()),
    ...(retryAfterMs !== undefined && {
      'grpc-status-details-bin': richStatus({ grpc, message }, retryAfterMs).toString('base64'),
    }),
  }
}

export type StatusFacts = Pick<WireStatus, 'grpc' | 'message' | 'retryAfterMs'>

/** What a call is refused with, and why. */
export type GrpcRefusal = StatusFacts & Refused

export function refusalOf(error: unknown): GrpcRefusal {
  return { ...wireStatus(error), error }
}

/** A message as it stands in the data of a call: flags, length, bytes. */
export function framed(message: Buffer): Buffer {
  if (message.length === 0) return EMPTY
  const prefix = Buffer.alloc(5)
  prefix.writeUInt32BE(message.length, 1)
  return Buffer.concat([prefix, message])
}

const EMPTY = Buffer.alloc(5)

/** `grpc-timeout` in milliseconds: up to 8 digits and a unit. Undefined: it is not one. */
export function timeoutMs(header: string): number | undefined {
  if (header !== last.header) {
    const isTime = TIMEOUT.test(header)
    const ms = isTime ? Number(header.slice(0, -1)) * (UNIT_MS[header.slice(-1)] ?? 0) : undefined
    last = { header, ms }
  }
  return last.ms
}

/** A sender says the same each time. */
let last: { readonly header: string; readonly ms: number | undefined } = { header: '', ms: undefined }

const TIMEOUT = /^\d{1,8}[HMSmun]$/

const UNIT_MS: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1000,
  m: 1,
  u: 0.001,
  n: 0.000_001,
}

export const DEADLINE_EXCEEDED: StatusFacts = {
  grpc: status.DEADLINE_EXCEEDED,
  message: 'Deadline exceeded',
}
