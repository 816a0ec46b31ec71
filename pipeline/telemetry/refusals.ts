import type { Entry } from '../admission.ts'
import { refusalReason } from '../net/refusal.ts'
import type { Counter } from './meter.ts'

const COUNTED: unique symbol = Symbol('counted')
type Marked = Error & { [COUNTED]?: true }

/** Marks what the pipeline has refused a request for: the receiver will answer with it. */
export function noteCounted(error: unknown): void {
  if (error instanceof Error) (error as Marked)[COUNTED] = true
}

/** Counts the requests that a receiver refuses itself, and no others. */
export function refusalCounter(requests: Counter, receiver: string): NonNullable<Entry['refused']> {
  return (transport, { error, reason }) => {
    if (isCounted(error) || (error === undefined && reason === undefined)) return
    requests.add(1, { receiver, transport, reason: reason ?? refusalReason(error) })
  }
}

function isCounted(error: unknown): boolean {
  return error instanceof Error && (error as Marked)[COUNTED] === true
}
