import type { HttpResponse } from '../../pipeline/net/http-post.ts'
import { MAX_ANSWER_BYTES, retryAfterMs } from '../../pipeline/net/http-post.ts'
import { redactText } from '../../pipeline/telemetry/redact.ts'
import { safeText } from '../../pipeline/telemetry/safe-text.ts'

/** What a node said to one bulk request. */
export type BulkAnswer =
  /** All documents are there but those at these places. */
  | { readonly is: 'taken'; readonly rejected: ReadonlyMap<number, string> }
  | { readonly is: 'too_large'; readonly message: string }
  | { readonly is: 'rejected'; readonly message: string }
  | { readonly is: 'later'; readonly message: string; readonly afterMs?: number | undefined }

interface Item {
  readonly status?: number
  readonly error?: { readonly type?: string; readonly reason?: string }
}

const MAX_MESSAGE = 500
const CONFLICT = 409
/** 400s that speak of the cluster and not of the document: too many shards, a template that refuses the index. */
const NOT_THE_DATA = new Set([
  'validation_exception',
  'index_closed_exception',
  'invalid_index_name_exception',
])
/** The same of `illegal_argument_exception`, which tells them apart by its reason only. */
const A_SETTING = /^(pipeline with id |only write ops with an op_type of create|no write index )/

/** `documents`: how many were sent. */
export function bulkAnswer(response: HttpResponse, documents: number): BulkAnswer {
  const { status, headers, body } = response
  if (status === 200) return itemsOf(body, documents)
  const message = `HTTP ${status}: ${quoted(body.toString())}`
  if (status === 413) return { is: 'too_large', message }
  // Whatever else is wrong lies in the way or the cluster, but for a body that it cannot read.
  if (status === 400) return { is: 'rejected', message }
  return { is: 'later', message, afterMs: retryAfterMs(headers, Date.now()) }
}

function itemsOf(body: Buffer, documents: number): BulkAnswer {
  // Reasons may quote what they refuse, and the rest of the answer was cut: fewer documents, a shorter answer.
  if (body.length >= MAX_ANSWER_BYTES && documents > 1)
    return { is: 'too_large', message: 'the answer is too large' }
  const items = parse(body)
  if (items?.length !== documents) return { is: 'later', message: 'what answers is not the bulk API' }
  const rejected = new Map<number, string>()
  for (const [place, each] of items.entries()) {
    const { status = 500, error } = Object.values(each)[0] ?? {}
    if (status < 300 || status === CONFLICT) continue
    const message = quoted(`${error?.type ?? `status ${status}`}: ${error?.reason ?? ''}`)
    if (status !== 400 || isSetting(error)) return { is: 'later', message }
    rejected.set(place, message)
  }
  return { is: 'taken', rejected }
}

function parse(body: Buffer): readonly Readonly<Record<string, Item>>[] | undefined {
  try {
    const { items } = Object(JSON.parse(body.toString())) as { readonly items?: unknown }
    return Array.isArray(items) ? (items as readonly Readonly<Record<string, Item>>[]) : undefined
  } catch {
    return undefined
  }
}

function isSetting({ type = '', reason = '' }: Item['error'] = {}): boolean {
  return NOT_THE_DATA.has(type) || A_SETTING.test(reason)
}

export function quoted(text: string): string {
  return redactText(safeText(text.slice(0, 4 * MAX_MESSAGE))).slice(0, MAX_MESSAGE)
}
