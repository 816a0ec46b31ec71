import { retry } from '../../pipeline/fault.ts'
import type { Judgement } from './policy.ts'

/** What becomes of a trace. */
export interface Decision {
  /** Spans that each kept one stands for: of those that arrived; where it is consistent and not 1, of all that there were. */
  readonly weight: number
  /** Share of its spans that is kept: 1 whole, 0 none. */
  readonly share: number
  /** The weight comes from the trace id's own randomness, so that the tracestate may say it. */
  readonly isConsistent: boolean
}

/** `thin`: share of the spans that are kept of traces that are not; `before`: the chance with which the trace came here. */
export function decisionOf(
  { kept, chance, isConsistent: isIds, dropped }: Judgement,
  thin: number,
  before: number,
): Decision {
  if (dropped || (!kept && thin === 0)) return { weight: 0, share: 0, isConsistent: false }
  // However it comes in, a span of such a trace has this chance: so the sums come out right.
  const included = chance + (1 - chance) * thin
  const isConsistent = kept && isIds && (thin === 0 || chance === 1)
  return {
    weight: 1 / (isConsistent && chance < 1 ? chance * before : included),
    share: kept ? 1 : thin,
    isConsistent,
  }
}

/**
 * Decisions as they rest in the state store, in blocks of up to 2,048; numbered in the order in which they fell, so that
 * decision i stands in block ⌊i / 2048⌋. Little endian:
 *
 *     0  u8  format version     1  u8[3] 0     4  u32 decisions
 *     8  f64 sequence up to which all traces were judged when the block was begun
 *    16  decisions, 32 bytes each: trace key (16) · f64 weight · f32 share · u32 1: consistent
 */
export const BLOCK = 2048
export const DECISION_BYTES = 32
const HEAD = 16
const VERSION = 1

export interface Decided {
  /** TraceKey. */
  readonly key: string
  readonly decision: Decision
}

export interface Block {
  readonly from: number
  readonly decided: readonly Decided[]
}

export function encodeBlock({ from, decided }: Block): Buffer {
  const out = Buffer.alloc(HEAD + decided.length * DECISION_BYTES)
  out.writeUInt8(VERSION, 0)
  out.writeUInt32LE(decided.length, 4)
  out.writeDoubleLE(from, 8)
  let at = HEAD
  for (const { key, decision } of decided) {
    out.write(key, at, 16, 'utf16le')
    out.writeDoubleLE(decision.weight, at + 16)
    out.writeFloatLE(decision.share, at + 24)
    out.writeUInt32LE(Number(decision.isConsistent), at + 28)
    at += DECISION_BYTES
  }
  return out
}

/** Undefined for what is none; STATE_VERSION (retry) for a format of a newer weir. */
export function decodeBlock(value: Uint8Array): Block | undefined {
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.length)
  if (bytes.length < HEAD) return undefined
  const version = bytes.readUInt8(0)
  if (version !== VERSION) {
    // A final fault would send the spans to the dead letters: they wait for the newer version.
    throw retry(
      'STATE_VERSION',
      `sampling: decisions have format ${version}; this weir reads up to ${VERSION}: run the newer version`,
    )
  }
  const count = bytes.readUInt32LE(4)
  if (bytes.length !== HEAD + count * DECISION_BYTES) return undefined
  const decided: Decided[] = []
  for (let at = HEAD; at < bytes.length; at += DECISION_BYTES) {
    const decision = {
      weight: bytes.readDoubleLE(at + 16),
      share: bytes.readFloatLE(at + 24),
      isConsistent: bytes.readUInt32LE(at + 28) === 1,
    }
    decided.push({ key: bytes.toString('utf16le', at, at + 16), decision })
  }
  return { from: bytes.readDoubleLE(8), decided }
}
