import { FAULTS, faultOf } from '../../pipeline/fault.ts'
import { wireStatus } from '../../pipeline/status.ts'
import { redactText } from '../../pipeline/telemetry/redact.ts'

/** RFC 9457 problem details. */
export interface Problem {
  readonly type: string
  readonly title: string
  readonly status: number
  readonly detail: string
  /** The Fault's stable code (docs/errors.md). */
  readonly code: string
  readonly retryAfterMs?: number
}

export function problemOf(error: unknown): Problem {
  const { http, message, retryAfterMs } = wireStatus(error)
  const code = faultOf(error)?.code
  return {
    type: code === undefined ? 'about:blank' : `urn:weir:error:${code}`,
    title: code === undefined ? 'internal error' : FAULTS[code],
    status: http,
    detail: redactText(message),
    code: code ?? 'INTERNAL',
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  }
}
