import type { CursorRecord } from './cursor-record.ts'
import { peek } from './cursor-seek.ts'
import type { WalDriver, WalInfo } from './driver.ts'

/** How far a cursor is behind the end of the log. Spans and bytes are estimates from means: the log counts messages. */
export interface CursorLag {
  readonly messages: number
  readonly bytes: number
  readonly spans: number
  /** Age of the oldest message that is not passed. */
  readonly seconds: number
}

const NO_LAG: CursorLag = Object.freeze({ messages: 0, bytes: 0, spans: 0, seconds: 0 })
/** Before a cursor has passed anything: about a span of the bench's shape. */
const TYPICAL_SPAN_BYTES = 850

export async function measureLag(
  driver: WalDriver,
  info: WalInfo,
  { position, bytes: passedBytes, ledger }: CursorRecord,
  nowMs: number,
  signal: AbortSignal,
): Promise<CursorLag> {
  const first = Math.max(position, info.firstSeq)
  if (info.messages === 0 || first > info.lastSeq) return NO_LAG
  const stored = info.lastSeq - info.firstSeq + 1
  const share = (info.lastSeq - first + 1) / stored
  const bytes = Math.round(info.bytes * share)
  const spanBytes = ledger.passed > 0 && passedBytes > 0 ? passedBytes / ledger.passed : TYPICAL_SPAN_BYTES
  const oldest = await peek(driver, first, signal)
  return {
    messages: Math.round(info.messages * share),
    bytes,
    spans: Math.max(1, Math.round(bytes / spanBytes)),
    seconds: oldest === undefined ? 0 : Math.max(0, (nowMs - oldest.timeMs) / 1000),
  }
}
