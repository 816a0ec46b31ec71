import { deflateRawSync, inflateRawSync } from 'node:zlib'
import { stateKey, type StateKey } from '../state/state.ts'
import type { TenantKey } from './tenant-keys.ts'

/**
 * What is kept of a run's calls, so that they can be answered again:
 *   replay.<day>.<tenant>.<trace>.<message>-<part>   CachedCall[] as deflated JSON, sealed with the tenant's key
 * The day (since 1970) is the one on which the log took the message, so that what is over is forgotten by days.
 */
export interface CachedCall {
  readonly kind: 'llm' | 'tool'
  readonly span: string
  /** Of a call that is two spans (toon): the span that asked, whose key it is. */
  readonly parent?: string
  /** Absent on the span that only answers. */
  readonly key?: string
  readonly seq?: number
  readonly startNs: string
  /** Absent on the span that only asks. */
  readonly answer?: Answer
}

export interface Answer {
  /** As it was stored, redacted. Absent: not recorded. */
  readonly value?: unknown
  readonly status: 'ok' | 'error' | 'unset'
  readonly error?: string
  readonly durationMs: number
  readonly tokensIn: number
  readonly tokensOut: number
}

interface Sheet {
  readonly v: 1
  readonly expiresMs: number
  readonly calls: readonly CachedCall[]
}

export const DAY_MS = 86_400_000
/** Below the state store's limit of 512 KiB. */
const MAX_SHEET_BYTES = 448 * 1024
/** Of JSON, before it is deflated: what a sheet may become when it is opened. */
const MAX_OPEN_BYTES = 8 * 1024 * 1024

export function dayOf(ms: number): number {
  return Math.floor(ms / DAY_MS)
}

export function dayKey(day: number, ...below: readonly string[]): StateKey {
  return stateKey('replay', String(day), ...below)
}

export interface SheetPlace {
  readonly day: number
  readonly tenant: string
  readonly trace: string
  /** Of the log's message and the batch in it. */
  readonly message: string
}

export interface Sheets {
  readonly entries: readonly { readonly key: StateKey; readonly value: Buffer }[]
  /** Calls that are too large for a record. */
  readonly left: number
}

/** The calls of one run in one message as records, in as few as they fit. The same calls get the same keys. */
export function sealCalls(
  key: TenantKey,
  place: SheetPlace,
  calls: readonly CachedCall[],
  expiresMs: number,
): Sheets {
  const entries: Sheets['entries'][number][] = []
  let left = 0
  const put = (part: readonly CachedCall[]): void => {
    const at = dayKey(place.day, place.tenant, place.trace, `${place.message}-${entries.length}`)
    const sheet: Sheet = { v: 1, expiresMs, calls: part }
    const json = Buffer.from(JSON.stringify(sheet))
    const value = json.length > MAX_OPEN_BYTES ? undefined : key.seal(deflateRawSync(json, { level: 1 }), at)
    if (value !== undefined && value.length <= MAX_SHEET_BYTES) {
      entries.push({ key: at, value })
    } else if (part.length === 1) {
      left++
    } else {
      const middle = part.length >> 1
      put(part.slice(0, middle))
      put(part.slice(middle))
    }
  }
  if (calls.length > 0) put(calls)
  return { entries, left }
}

/** Undefined for what does not open, is of another version, or is over. */
export function openCalls(
  key: TenantKey,
  at: StateKey,
  value: Uint8Array,
  nowMs: number,
): readonly CachedCall[] | undefined {
  const plain = key.open(value, at)
  if (plain === undefined) return undefined
  const json = inflateRawSync(plain, { maxOutputLength: MAX_OPEN_BYTES + 1024 }).toString()
  const sheet = JSON.parse(json) as Sheet
  return sheet.v === 1 && nowMs < sheet.expiresMs ? sheet.calls : undefined
}
