import type { Lookback, RowRange } from '../admission.ts'
import { faultOf, retry } from '../fault.ts'
import type { WalDriver, WalMessage, WalPort } from './driver.ts'
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
      // Noted before there was a WAL: ''.
      storedRows(driver, tenant, digest, Number(since) + 1, signal),
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
      const messages = await withDeadline(signal, PURGED_MS, (limit) => readOn(port, limit))
      if (signal.aborted) throw retry('WAL_UNAVAILABLE', 'the write-ahead log was not read to its end')
      if (messages === 'damaged') {
        seq++
        continue
      }
      if (messages.length === 0) {
        // Silence is an end only of a log that answers.
        await driver.info()
        break
      }
      for (const message of messages) {
        seq = message.seq
        if (message.tenant !== tenant || seq > lastSeq) continue
        for (const member of membersOf(message)) {
          if (wanted.equals(member.digest)) found.push(rangeOf(member))
        }
      }
    }
  } finally {
    await port.close()
  }
  return found.sort((a, b) => a.first - b.first)
}

/** What is damaged stores nothing of the batch, and ends no search. */
async function readOn(port: WalPort, limit: AbortSignal): Promise<readonly WalMessage[] | 'damaged'> {
  try {
    return await port.next(READ_BYTES, limit)
  } catch (error) {
    if (faultOf(error)?.code === 'WAL_CORRUPT') return 'damaged'
    throw error
  }
}

function membersOf({ bytes, seq }: WalMessage): readonly Member[] {
  try {
    return decodeEnvelope(bytes, seq)
  } catch (error) {
    if (faultOf(error)?.code === 'WAL_CORRUPT') return []
    throw error
  }
}

function rangeOf({ firstRow, spans, last }: Member): RowRange {
  return { first: firstRow, end: firstRow + spans, last }
}
