import { hash } from 'node:crypto'

/** Ids of runs and their spans (design section 6). Run ids are unique per tenant only. */

const UUID = /^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$/i
const HEX_SPAN = /^[0-9a-f]{16}$/i

/** A run of a tenant. `trace` names it in state; two spellings of a UUID are one run. */
export interface RunId {
  readonly tenant: string
  /** As its sender wrote it first. */
  readonly id: string
  /** 16 bytes, lower-case hex. */
  readonly trace: string
}

/** `id`: 1 to 200 characters of any text. */
export function runIdOf(tenant: string, id: string): RunId {
  return { tenant, id, trace: traceIdOf(tenant, id).toString('hex') }
}

/** A UUID is its own 16 bytes; of any other id the first 16 bytes of SHA-256 over tenant and id. */
export function traceIdOf(tenant: string, id: string): Buffer {
  if (UUID.test(id)) {
    const bytes = Buffer.from(id.replaceAll('-', ''), 'hex')
    // An id of zeros is no trace id (W3C Trace Context section 3.2.2.3).
    if (bytes.some((byte) => byte !== 0)) return bytes
  }
  return digest(16, tenant, id)
}

/** The span of event `seq`, or of what else the run has one of (`root`). */
export function spanIdOf(run: RunId, part: number | string): Buffer {
  return digest(8, run.tenant, run.trace, String(part))
}

/** For ids that an event brings: 16 hex digits are kept, anything else is hashed, so that parents and children agree. */
export function givenSpanId(run: RunId, id: string): Buffer {
  if (HEX_SPAN.test(id) && !/^0+$/.test(id)) return Buffer.from(id, 'hex')
  return digest(8, run.tenant, run.trace, 'span', id)
}

function digest(size: number, ...parts: readonly string[]): Buffer {
  return hash('sha256', parts.join('\0'), 'buffer').subarray(0, size)
}
