import { expect, test } from 'vitest'
import { MemoryDriver, MemoryLog } from '../test/contract/wal-memory.ts'
import { requestBatch } from '../test/contract/wal-spans.ts'
import { decodeBatch } from './batch/otlp-batch.ts'
import { ACCEPTED } from './consumer.ts'
import { retry } from './fault.ts'
import { publishRest } from './publish-rest.ts'
import { createMeter } from './telemetry/prom-meter.ts'
import type { OutgoingMessage } from './wal/driver.ts'
import { DedupeWindow } from './wal/dedupe.ts'
import { decodeEnvelope } from './wal/envelope.ts'
import { lookbackOf } from './wal/lookback.ts'
import { WalWriter } from './wal/writer.ts'

const NEVER = new AbortController().signal
const NAMES = Array.from({ length: 8 }, (_, at) => `span ${at}`)
const PADDING = 1000

/** Takes so many messages and then none. */
class FullDriver extends MemoryDriver {
  room = Infinity

  override async append(message: OutgoingMessage): Promise<number> {
    if (this.room-- <= 0) throw retry('WAL_FULL', 'full')
    return super.append(message)
  }
}

function setup() {
  const driver = new FullDriver(new MemoryLog(), 5000)
  const options = {
    connector: 'wal',
    driver,
    meter: createMeter(),
    onAppended() {},
    maxPendingBytes: 1 << 20,
  }
  const batch = () => requestBatch(NAMES, { padding: PADDING })
  return { driver, writer: new WalWriter(options), lookback: lookbackOf(driver), batch }
}

/** The spans that a reader of the log delivers. */
function delivered({ log }: MemoryDriver): string[] {
  const window = new DedupeWindow()
  return log.messages.flatMap(({ bytes, seq, tenant, timeMs }) =>
    decodeEnvelope(bytes, seq)
      .filter((member) => !window.pass(tenant, member, timeMs))
      .flatMap((member) => {
        const batch = decodeBatch(member.bytes, requestBatch(['x']).meta)
        return Array.from({ length: batch.rows }, (_, row) => batch.name(row))
      }),
  )
}

test('the rest of a batch that was stored in part is delivered, also when it is as long as that part', async () => {
  const { driver, writer, lookback, batch } = setup()
  driver.room = 1
  await expect(writer.consume(batch(), NEVER)).rejects.toThrow()
  expect(delivered(driver)).toHaveLength(4)
  driver.room = Infinity
  expect(await publishRest(writer, lookback, batch(), '0', NEVER)).toEqual(ACCEPTED)
  expect(delivered(driver).sort()).toEqual(NAMES)
})

test('any number of attempts, each cut off somewhere, deliver each span once', async () => {
  const { driver, writer, lookback, batch } = setup()
  driver.room = 1
  await expect(writer.consume(batch(), NEVER)).rejects.toThrow()
  // The rest is stored, and its answer lost.
  driver.room = 1
  await publishRest(writer, lookback, batch(), '0', NEVER)
  for (let attempt = 0; attempt < 3; attempt++) await publishRest(writer, lookback, batch(), '0', NEVER)
  // Long after, when the WAL does not know repeats by itself any more.
  driver.log.nowMs += 3_600_000
  await publishRest(writer, lookback, batch(), '0', NEVER)
  expect(delivered(driver).sort()).toEqual(NAMES)
})

test('what is rejected of a rest is told in rows of the batch', async () => {
  const { driver, writer, lookback, batch } = setup()
  driver.room = 1
  await expect(writer.consume(batch(), NEVER)).rejects.toThrow()
  const rejecting = { consume: async () => ({ rejected: [{ rows: [0, 3], reason: 'no' }] }) }
  const outcome = await publishRest(rejecting, lookback, batch(), '0', NEVER)
  expect(outcome).toEqual({ rejected: [{ rows: [4, 7], reason: 'no' }] })
})
