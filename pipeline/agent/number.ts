import type { CheckedEvent } from './check.ts'

/** An action_request that no response has answered yet. */
export interface OpenRequest {
  readonly seq: number
  readonly action: string
  /** Unix ms. */
  readonly atMs: number
}

/** An event with its place in the run. */
export interface NumberedEvent extends CheckedEvent {
  readonly seq: number
  /** Of an action_response: the request it answers. */
  readonly request?: { readonly seq: number; readonly action?: string | undefined } | undefined
}

export interface Numbered {
  readonly events: readonly NumberedEvent[]
  /** Open requests afterwards, oldest first. */
  readonly open: readonly OpenRequest[]
  /** Numbers of requests that were answered before they came. */
  readonly early: readonly number[]
  /** What was used up of the open and early ones given: with it alone the same events get the same parents. */
  readonly used: readonly OpenRequest[]
  readonly usedEarly: readonly number[]
}

/** More pairs than that are under way in no run; what leaves is the oldest, whose response then hangs under the root. */
const MAX_OPEN = 256

/** Says which request each response answers: `meta.request_seq`, else the latest that is open. */
export function pair(
  events: readonly (CheckedEvent & { readonly seq: number })[],
  open: readonly OpenRequest[],
  early: readonly number[] = [],
): Numbered {
  const state = { open: [...open], early: [...early] }
  const used = new Set<unknown>()
  const usedEarly: number[] = []
  const numbered = events.map((event): NumberedEvent => {
    const { event: toon, seq } = event
    if (toon.type === 'action_request') {
      const action = event.keptAction ?? toon.payload.action
      if (opened(state, { seq, action, atMs: Number(event.atNs / 1_000_000n) })) return event
      if (early.includes(seq)) usedEarly.push(seq)
    }
    if (toon.type !== 'action_response') return event
    const request = answered(state, toon.meta?.request_seq)
    used.add(request)
    return { ...event, request }
  })
  return {
    events: numbered,
    open: state.open.slice(-MAX_OPEN),
    early: state.early.slice(-MAX_OPEN),
    // In the order they were opened: the latest is answered first.
    used: open.filter((request) => used.has(request)),
    usedEarly,
  }
}

interface Pairs {
  readonly open: OpenRequest[]
  readonly early: number[]
}

/** False when it was answered before it came. */
function opened({ open, early }: Pairs, request: OpenRequest): boolean {
  const at = early.indexOf(request.seq)
  if (at < 0) open.push(request)
  else early.splice(at, 1)
  return at < 0
}

function answered(
  { open, early }: Pairs,
  requestSeq: number | undefined,
): OpenRequest | { seq: number } | undefined {
  if (requestSeq === undefined) return open.pop()
  const at = open.findIndex(({ seq }) => seq === requestSeq)
  if (at >= 0) return open.splice(at, 1)[0]
  early.push(requestSeq)
  return { seq: requestSeq }
}
