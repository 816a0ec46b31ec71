import type { HttpResponse } from '../../pipeline/net/http-post.ts'
import { retryAfterMs } from '../../pipeline/net/http-post.ts'
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

export function bulkAnswer(response: HttpResponse): BulkAnswer {
  const { status, headers, body } = response
  if (status === 200) return itemsOf(body)
  const message = `HTTP ${status}: ${quoted(body.toString())}`
  if (status === 413) return { is: 'too_large', message }
  // Whatever else is wrong lies in the way or the cluster, but for a body that it cannot read.
  if (status === 400) return { is: 'rejected', message }
  return { is: 'later', message, afterMs: retryAfterMs(headers, Date.now()) }
}

function itemsOf(body: Buffer): BulkAnswer {
  let answer: { readonly errors?: boolean; readonly items?: readonly Readonly<Record<string, Item>>[] }
  try {
    answer = JSON.parse(body.toString()) as typeof answer
  } catch {
    return { is: 'later', message: 'what answers is not the bulk API' }
  }
  if (answer.errors === undefined) return { is: 'later', message: 'what answers is not the bulk API' }
  const rejected = new Map<number, string>()
  if (!answer.errors) return { is: 'taken', rejected }
  for (const [place, each] of (answer.items ?? []).entries()) {
    const { status = 500, error } = Object.values(each)[0] ?? {}
    if (status < 300 || status === CONFLICT) continue
    const message = quoted(`${error?.type ?? `status ${status}`}: ${error?.reason ?? ''}`)
    if (status !== 400 || NOT_THE_DATA.has(error?.type ?? '')) return { is: 'later', message }
    rejected.set(place, message)
  }
  return { is: 'taken', rejected }
}

export function quoted(text: string): string {
  return redactText(safeText(text)).slice(0, MAX_MESSAGE)
}
