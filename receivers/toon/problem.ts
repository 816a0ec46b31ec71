import { STATUS_CODES } from 'node:http'
import { EventFault, type EventError } from '../../pipeline/agent/event-fault.ts'
import { faultOf, FAULTS } from '../../pipeline/fault.ts'
import { Refusal } from '../../pipeline/net/refusal.ts'
import { wireStatus } from '../../pipeline/status.ts'
import { Invalid } from './invalid.ts'

export const PROBLEM_JSON = 'application/problem+json'

/** RFC 9457. */
export interface Problem {
  /** `urn:weir:<fault code>`; about:blank where the status says it all. */
  readonly type: string
  readonly title: string
  readonly status: number
  readonly detail: string
  /** What is wrong where; of events with their index. */
  readonly errors?: readonly Partial<EventError>[]
  readonly retryAfterMs?: number | undefined
}

/** What to tell the sender of anything that was thrown. */
export function problemOf(error: unknown): Problem {
  if (error instanceof Invalid) return { ...plain(error.http, error.message), errors: error.errors }
  if (error instanceof Refusal) return plain(error.http, error.message)
  const { http, message, retryAfterMs } = wireStatus(error)
  const fault = faultOf(error)
  if (fault === undefined) return plain(http, message)
  return {
    type: `urn:weir:${fault.code.toLowerCase().replaceAll('_', '-')}`,
    title: FAULTS[fault.code],
    status: http,
    detail: message,
    ...(fault instanceof EventFault && { errors: fault.errors }),
    retryAfterMs,
  }
}

export function plain(status: number, detail: string): Problem {
  return { type: 'about:blank', title: STATUS_CODES[status] ?? 'Error', status, detail }
}

export function problemBody(problem: Problem): Buffer {
  return Buffer.from(`${JSON.stringify({ ...problem, retryAfterMs: undefined })}\n`)
}
