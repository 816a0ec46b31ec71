import { reject, retry, type Fault } from '../fault.ts'

/** JetStream error codes (nats-server `errors.json`) that have a meaning of their own for us. */
const INSUFFICIENT_RESOURCES = 10023
const STORAGE_RESOURCES_EXCEEDED = 10047
const MESSAGE_TOO_LARGE = 10054
/** "store failed": the stream is at `max_bytes`, or the disk is full; the refused id is not remembered. */
const STORE_FAILED = 10077
const FULL: ReadonlySet<number> = new Set([STORE_FAILED, INSUFFICIENT_RESOURCES, STORAGE_RESOURCES_EXCEEDED])

const FULL_MS = 5000
const AWAY_MS = 1000

/** What a PubAck's `error` means to whoever appends. */
export function publishFault(stream: string, errCode: number, description: string): Fault {
  if (FULL.has(errCode)) {
    return retry(
      'WAL_FULL',
      `stream ${stream} takes no more: ${description} (${errCode}). A destination is behind, or raise max_bytes or the server's limits`,
      FULL_MS,
    )
  }
  if (errCode === MESSAGE_TOO_LARGE) {
    return reject('SPAN_TOO_LARGE', `stream ${stream} refuses the message: ${description} (max_msg_size)`)
  }
  return unavailable(`stream ${stream} refused a message: ${description} (${errCode})`)
}

/** After this the message may or may not be stored; repeat it with the same id. */
export function unavailable(message: string, cause?: unknown): Fault {
  return retry('WAL_UNAVAILABLE', message, AWAY_MS, { cause })
}
