import { isWhole } from '../admission.ts'
import type { Batch } from '../batch/batch.ts'
import { decodeBatch } from '../batch/otlp-batch.ts'
import type { Consumer } from '../consumer.ts'
import { faultOf, retry } from '../fault.ts'
import { orGivenUp } from '../given-up.ts'
import type { StoredLog, StoredMessage } from '../follower.ts'
import type { WalDriver, WalMessage, WalPort } from './driver.ts'
import { decodeEnvelope } from './envelope.ts'
import { lookbackOf } from './lookback.ts'
import { withDeadline } from './reader-deadline.ts'
import { metaOf } from './reader-prepare.ts'
import { scanLog, seqAt, spanOfLog } from './scan.ts'

/** One message, however large. */
const ONE = 1
/** Longest wait for a message that the log has: it may have been purged, with all after it. */
const PURGED_MS = 2000

/** The log of `driver` (open when used) for its followers. */
export function storedLogOf(connector: string, driver: WalDriver, writer: Consumer): StoredLog {
  const lookback = lookbackOf(driver)
  return {
    connector,
    async head() {
      return (await driver.info()).lastSeq
    },
    read: (seqs, signal) => readBack(driver, seqs, signal),
    async has(tenant, digest, since, signal) {
      return isWhole(await lookback.stored(tenant, digest, String(since), signal))
    },
    async append(batch, signal) {
      // Others may lie in the same message, and its follower goes on reading it.
      await orGivenUp(signal, writer.consume(batch.fork(), signal))
    },
    span: () => spanOfLog(driver),
    seqAt: (timeMs, signal) => seqAt(driver, timeMs, signal),
    scan: (options, signal) => scanLog(driver, options, signal),
  }
}

async function readBack(
  driver: WalDriver,
  seqs: readonly number[],
  signal: AbortSignal,
): Promise<readonly StoredMessage[]> {
  const found: StoredMessage[] = []
  const [first] = seqs
  if (first === undefined) return found
  const port = driver.reader(first)
  let next = first
  let held: WalMessage | undefined
  try {
    for (const seq of seqs) {
      // A message that came in place of one that is gone may be one of the next.
      if (held === undefined || held.seq < seq) {
        if (seq !== next) await port.seek(seq)
        held = await readOne(port, signal)
        next = (held?.seq ?? seq) + 1
      }
      if (held?.seq === seq) found.push({ seq, batches: batchesOf(held) })
    }
    return found
  } finally {
    await port.close()
  }
}

/** The next message; undefined for a damaged one, and where none comes. */
async function readOne(port: WalPort, signal: AbortSignal): Promise<WalMessage | undefined> {
  try {
    const [message] = await withDeadline(signal, PURGED_MS, (limit) => port.next(ONE, limit))
    if (signal.aborted) throw retry('WAL_UNAVAILABLE', 'the write-ahead log was not read to its end')
    return message
  } catch (error) {
    if (faultOf(error)?.code === 'WAL_CORRUPT') return undefined
    throw error
  }
}

function batchesOf(message: WalMessage): Batch[] {
  const { seq, tenant } = message
  // The port may use its memory again: the batches outlive the call.
  const bytes = Buffer.from(message.bytes)
  const batches: Batch[] = []
  let row = 0
  try {
    for (const member of decodeEnvelope(bytes, seq)) {
      batches.push(
        decodeBatch(Buffer.from(member.bytes), metaOf({ member, tenant, seq, row, timeMs: message.timeMs })),
      )
      row += member.spans
    }
  } catch (error) {
    if (faultOf(error)?.verdict.do !== 'reject') throw error
  }
  return batches
}
