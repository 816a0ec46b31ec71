import { expect, test } from 'vitest'
import { MemoryDriver, MemoryLog } from '../../test/contract/wal-memory.ts'
import { requestBatch, spansRequest } from '../../test/contract/wal-spans.ts'
import { DedupeWindow } from './dedupe.ts'
import { encodeEnvelope } from './envelope.ts'
import { RangeSource } from './reader-source.ts'

const NEVER = new AbortController().signal

function setup() {
  const driver = new MemoryDriver(new MemoryLog())
  const limits = { maxSpans: 16, maxBytes: 1 << 20, maxWaitMs: 0, busyWaitMs: 60_000 }
  const source = new RangeSource(driver, 1, new DedupeWindow(), limits)
  let names = 0
  const append = (spans: number) => {
    const request = Array.from({ length: spans }, () => `span ${names++}`)
    const { digest } = requestBatch(request).meta
    const about = {
      part: 0,
      firstRow: 0,
      last: true,
      principal: '',
      project: '',
      source: 's',
      receivedAtMs: 7,
    }
    const parts = encodeEnvelope([{ digest, ...about, spans, bytes: spansRequest(request) }])
    return driver.append({ signal: 'traces', tenant: 'a', id: `m${names}`, parts })
  }
  return { append, source }
}

test('a little is delivered at once', async () => {
  const { append, source } = setup()
  await append(1)
  expect(await source.next(NEVER)).toMatchObject({ from: 1, to: 1, spans: 1 })
})

test('where much comes, a range waits for more of it, until it is full', async () => {
  const { append, source } = setup()
  await append(2)
  const range = source.next(NEVER)
  for (let sent = 2; sent < 16; sent += 2) await append(2)
  expect(await range).toMatchObject({ from: 1, to: 8, spans: 16 })
})
