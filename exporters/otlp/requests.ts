import type { Batch } from '../../pipeline/batch/batch.ts'

/** Live rows of one batch of a delivery. */
export interface Part {
  /** Index of the batch in the delivery. */
  readonly batch: number
  readonly source: Batch
  readonly rows: readonly number[]
}

/** What is sent at once. */
export interface Request {
  readonly parts: readonly Part[]
  readonly spans: number
}

export interface RequestLimits {
  readonly maxSpans: number
  readonly maxBytes: number
}

/**
 * The requests of a delivery, in order: the same for the same batches. Batches stay whole where they fit, so that their
 * bytes go as they came; a larger one is cut by rows.
 */
export function planRequests(batches: readonly Batch[], limits: RequestLimits): Request[] {
  const requests: Request[] = []
  let parts: Part[] = []
  let spans = 0
  let bytes = 0
  const close = (): void => {
    if (spans > 0) requests.push({ parts, spans })
    parts = []
    spans = bytes = 0
  }
  for (const [index, source] of batches.entries()) {
    for (const part of cutBatch(index, source, limits)) {
      const size = sizeOf(part)
      if (spans + part.rows.length > limits.maxSpans || bytes + size > limits.maxBytes) close()
      parts.push(part)
      spans += part.rows.length
      bytes += size
    }
  }
  close()
  return requests
}

/** One ExportTraceServiceRequest: concatenated requests are one (proto3 merges repeated fields). */
export function encodeRequest({ parts }: Request): Uint8Array {
  const encoded = parts.map(({ source, rows }) =>
    rows.length === source.live ? source.encode() : source.select(rows).encode(),
  )
  return encoded.length === 1 && encoded[0] !== undefined ? encoded[0] : Buffer.concat(encoded)
}

/** Two requests of about half the spans each. Only for requests of several spans. */
export function halves({ parts, spans }: Request): [Request, Request] {
  const first: Part[] = []
  const second: Part[] = []
  let room = spans >> 1
  for (const part of parts) {
    const taken = part.rows.slice(0, room)
    const rest = part.rows.slice(room)
    room -= taken.length
    if (taken.length > 0) first.push({ ...part, rows: taken })
    if (rest.length > 0) second.push({ ...part, rows: rest })
  }
  return [
    { parts: first, spans: spans >> 1 },
    { parts: second, spans: spans - (spans >> 1) },
  ]
}

function cutBatch(batch: number, source: Batch, { maxSpans, maxBytes }: RequestLimits): Part[] {
  const rows: number[] = []
  let bytes = 0
  for (let row = 0; row < source.rows; row++) {
    if (!source.isLive(row)) continue
    rows.push(row)
    bytes += source.spanSize(row)
  }
  if (rows.length === 0) return []
  if (rows.length <= maxSpans && bytes <= maxBytes) return [{ batch, source, rows }]
  return cutRows(rows, source, maxSpans, maxBytes).map((some) => ({ batch, source, rows: some }))
}

function cutRows(rows: readonly number[], source: Batch, maxSpans: number, maxBytes: number): number[][] {
  const cuts: number[][] = []
  let open: number[] = []
  let bytes = 0
  for (const row of rows) {
    const size = source.spanSize(row)
    if (open.length > 0 && (open.length >= maxSpans || bytes + size > maxBytes)) {
      cuts.push(open)
      open = []
      bytes = 0
    }
    open.push(row)
    bytes += size
  }
  cuts.push(open)
  return cuts
}

/** About: resources and scopes are not counted, and servers that are over by them ask for halves. */
function sizeOf({ source, rows }: Part): number {
  return rows.reduce((sum, row) => sum + source.spanSize(row), 0)
}
