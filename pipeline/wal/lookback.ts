import type { Lookback, RowRange } from '../admission.ts'
import { retry } from '../fault.ts'
import type { WalDriver } from './driver.ts'
import { decodeEnvelope, type Member } from './envelope.ts'
import { withDeadline } from './reader-deadline.ts'

const READ_BYTES = 8 * 1024 * 1024
/** Where the newest messages were purged, none may ever come that says so. */
const PURGED_MS = 2000

/** What the log holds of a batch, found by its digest: positions are sequences. */
export function lookbackOf(driver: WalDriver): Lookback {
  return {
    async position() {
      return String((await driver.info()).lastSeq)
    },
    stored: (tenant, digest, since, signal) =>
      storedRows(driver, tenant, digest, Number.parseInt(since, 10) + 1, signal),
  }
}

async function storedRows(
  driver: WalDriver,
  tenant: string,
  digest: Uint8Array,
  from: number,
  signal: AbortSignal,
): Promise<readonly RowRange[]> {
  const { lastSeq } = await driver.info()
  const wanted = Buffer.from(digest.buffer, digest.byteOffset, digest.length)
  const found: RowRange[] = []
  if (from > lastSeq) return found
  const port = driver.reader(from)
  try {
    for (let seq = from - 1; seq < lastSeq;) {
      const messages = await withDeadline(signal, PURGED_MS, (limit) => port.next(READ_BYTES, limit))
      if (signal.aborted) throw retry('WAL_UNAVAILABLE', 'the write-ahead log was not read to its end')
      if (messages.length === 0) break
      for (const message of messages) {
        seq = message.seq
        if (message.tenant !== tenant || seq > lastSeq) continue
        for (const member of decodeEnvelope(message.bytes, seq)) {
          if (wanted.equals(member.digest)) found.push(rangeOf(member))
        }
      }
    }
  } finally {
    await port.close()
  }
  return found.sort((a, b) => a.first - b.first)
}

function rangeOf({ firstRow, spans, last }: Member): RowRange {
  return { first: firstRow, end: firstRow + spans, last }
}
