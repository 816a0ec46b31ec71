import { redactText } from '../../pipeline/telemetry/redact.ts'
import { safeText } from '../../pipeline/telemetry/safe-text.ts'

/** What a server said to one request. */
export type Answer =
  /** It has the spans, but for `rejected` of them. */
  | { readonly is: 'taken'; readonly rejected: number; readonly message: string }
  /** The request is too large for it: smaller ones may pass. */
  | { readonly is: 'too_large'; readonly message: string }
  /** It will never take these spans. */
  | { readonly is: 'rejected'; readonly message: string }
  /** Come again, not before `afterMs`. `asked`: the server set that time itself. */
  | { readonly is: 'later'; readonly message: string; readonly afterMs: number; readonly asked: boolean }

const MAX_MESSAGE = 500

/** Text of a server, fit for logs and dead letters. */
export function quoted(text: string): string {
  return redactText(safeText(text.slice(0, 4 * MAX_MESSAGE))).slice(0, MAX_MESSAGE)
}

export function later(message: string, afterMs?: number): Answer {
  return { is: 'later', message, afterMs: afterMs ?? 0, asked: afterMs !== undefined }
}

/** A way to one server. Never throws: what goes wrong on the way is `later`. */
export interface Transport {
  /** An ExportTraceServiceRequest. `later` too when `signal` aborts. */
  send(request: Uint8Array, signal: AbortSignal): Promise<Answer>
  /** Requests under way go on for a while. */
  close(): void
}
