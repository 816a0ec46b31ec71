import type { Entry, Head } from '../admission.ts'
import { refusalReason, type RefusalReason } from '../net/refusal.ts'
import type { Counter, Labels } from './meter.ts'

const COUNTED: unique symbol = Symbol('counted')
type Marked = Error & { [COUNTED]?: true }

/** Marks what the pipeline has refused a request for: the receiver will answer with it. */
export function noteCounted(error: unknown): void {
  if (error instanceof Error) (error as Marked)[COUNTED] = true
}

/** Counts the requests that a receiver refuses itself, and no others. */
export function refusalCounter(requests: Counter, receiver: string): NonNullable<Entry['refused']> {
  const known: Record<Head['transport'], Map<RefusalReason, Labels>> = {
    grpc: new Map(),
    http: new Map(),
    file: new Map(),
  }
  return (transport, { error, reason: given }) => {
    if (isCounted(error) || (error === undefined && given === undefined)) return
    const reason = given ?? refusalReason(error)
    let labels = known[transport].get(reason)
    if (labels === undefined) known[transport].set(reason, (labels = { receiver, transport, reason }))
    requests.add(1, labels)
  }
}

function isCounted(error: unknown): boolean {
  return error instanceof Error && (error as Marked)[COUNTED] === true
}
