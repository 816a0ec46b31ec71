import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { MemoryDriver, MemoryLog } from '../../test/contract/wal-memory.ts'
import { requestBatch } from '../../test/contract/wal-spans.ts'
import { POOL } from '../../proto/buffer-pool.ts'
import type { Batch } from '../batch/batch.ts'
import { decodeBatch } from '../batch/otlp-batch.ts'
import { ACCEPTED } from '../consumer.ts'
import { faultOf, retry } from '../fault.ts'
import { createMeter } from '../telemetry/prom-meter.ts'
import type { OutgoingMessage } from './driver.ts'
import { decodeEnvelope } from './envelope.ts'
import { WalWriter, type WriterOptions } from './writer.ts'

const never = new AbortController().signal

/** As much of a batch as a writer sees: its bytes, one span per byte. */
function batchOf(bytes: Uint8Array, tenant = 'a'): Batch {
  const batch: Partial<Batch> = {
    live: bytes.length,
    meta: {
      signal: 'traces',
      tenant,
      project: 'p',
      principal: 'someone',
      source: 'otlp/grpc',
      receivedAtMs: 5,
      digest: new Uint8Array(16).fill(bytes[0] ?? 0),
    },
    encode: () => bytes,
    release: () => undefined,
    split: (max) => {
      const parts: Batch[] = []
      for (let at = 0; at < bytes.length; at += max) parts.push(batchOf(bytes.subarray(at, at + max), tenant))
      return parts
    },
  }
  return batch as Batch
}

function setup(options: Partial<WriterOptions> = {}, maxMessageBytes = 1024 * 1024) {
  const log = new MemoryLog()
  const driver = new HeldDriver(log, maxMessageBytes)
  const meter = createMeter()
  let appended = 0
  const writer = new WalWriter({
    connector: 'wal',
    driver,
    meter,
    onAppended: () => appended++,
    maxPendingBytes: 1 << 20,
    ...options,
  })
  return { log, driver, writer, meter, appended: () => appended }
}

/** Appends wait at a gate that a test opens. */
class HeldDriver extends MemoryDriver {
  gate: Promise<void> = Promise.resolve()
  /** Of the next appends, one each. */
  gates: (() => Promise<void>)[] = []

  override async append(message: OutgoingMessage): Promise<number> {
    await (this.gates.shift()?.() ?? this.gate)
    return super.append(message)
  }
}

function gate() {
  let open = () => {}
  const closed = new Promise<void>((resolve) => (open = resolve))
  return { closed, open }
}

async function codeOf(work: Promise<unknown>): Promise<string | undefined> {
  return work.then(
    () => undefined,
    (error: unknown) => faultOf(error)?.code ?? String(error),
  )
}

describe('WAL writer', () => {
  it('gives concurrent batches of one tenant one message, and other tenants their own', async () => {
    const { writer, log, appended } = setup()
    const consumed = ['a', 'b', 'a', 'b', 'a'].map((tenant, n) =>
      writer.consume(batchOf(Buffer.alloc(10, n + 1), tenant), never),
    )
    await Promise.all(consumed)
    expect(log.messages.map((message) => message.tenant)).toEqual(['a', 'b'])
    const [a, b] = log.messages.map((message) => decodeEnvelope(message.bytes, message.seq))
    expect(a?.map((member) => member.bytes[0])).toEqual([1, 3, 5])
    expect(b?.map((member) => member.bytes[0])).toEqual([2, 4])
    expect(a?.[0]).toMatchObject({ spans: 10, principal: 'someone', project: 'p', receivedAtMs: 5 })
    expect(appended()).toBe(2)
  })

  it('answers each only when its own message is durable', async () => {
    const { writer, driver, log } = setup()
    const { closed, open } = gate()
    driver.gate = closed
    const consumed = writer.consume(batchOf(Buffer.alloc(10, 1)), never)
    expect(await Promise.race([consumed, new Promise((done) => setTimeout(done, 20, 'pending'))])).toBe(
      'pending',
    )
    expect(log.messages).toHaveLength(0)
    open()
    await consumed
    expect(log.messages).toHaveLength(1)
  })

  it('splits what is larger than a message, and answers when all parts are durable', async () => {
    const { writer, log } = setup({}, 400)
    const bytes = Buffer.from(Array.from({ length: 1000 }, (_, n) => n & 255))
    await writer.consume(batchOf(bytes), never)
    for (const message of log.messages) expect(message.bytes.length).toBeLessThanOrEqual(400)
    const members = log.messages.flatMap((message) => decodeEnvelope(message.bytes, message.seq))
    expect(members.map((member) => member.part)).toEqual(members.map((_, index) => index))
    expect(members.map((member) => member.firstRow)).toEqual(
      members.map((_, index) => members.slice(0, index).reduce((sum, one) => sum + one.spans, 0)),
    )
    expect(Buffer.concat(members.map((member) => member.bytes))).toEqual(bytes)
  })

  it('answers a split batch once none of its parts is under way, with the failure of any', async () => {
    const { writer, driver, log } = setup({}, 400)
    const bytes = Buffer.alloc(1000, 1)
    const done = () => Promise.resolve()
    const held = gate()
    driver.gates = [done, done, done, () => held.closed]
    const stored = writer.consume(batchOf(bytes), never)
    await expect.poll(() => log.messages.length).toBe(3)
    expect(await Promise.race([stored, delay(20, 'pending')])).toBe('pending')
    held.open()
    await stored
    expect(log.messages).toHaveLength(4)

    const last = gate()
    const full = () => Promise.reject(retry('WAL_FULL', 'told to'))
    driver.gates = [done, full, done, () => last.closed]
    const refused = codeOf(writer.consume(batchOf(bytes), never))
    await expect.poll(() => log.messages.length).toBe(6)
    expect(await Promise.race([refused, delay(20, 'pending')])).toBe('pending')
    last.open()
    expect(await refused).toBe('WAL_FULL')
    expect(writer.pendingBytes).toBe(0)
  })

  it('gives the memory of what is durable back, and of nothing else', async () => {
    const { writer, driver, log } = setup()
    const names = Array.from({ length: 600 }, (_, at) => `span ${at}`)
    const pooled = (): Batch => {
      const request = requestBatch(names, { padding: 50 })
      const bytes = POOL.bytes(request.encode().length)
      bytes.set(request.encode())
      return decodeBatch(bytes, request.meta)
    }
    const stored = pooled()
    await writer.consume(stored, never)
    expect(stored.name(5)).toBe('')
    expect(stored.live).toBe(600)

    // The other copy of a fan-out may not have been written yet.
    const forked = pooled()
    await writer.consume(forked.fork(), never)
    expect(forked.name(5)).toBe('span 5')

    const held = gate()
    driver.gate = held.closed
    const caller = new AbortController()
    const givenUp = pooled()
    const consumed = writer.consume(givenUp, caller.signal)
    caller.abort()
    held.open()
    await consumed
    expect(givenUp.name(5)).toBe('span 5')

    log.failing = 'after'
    const failed = pooled()
    expect(await codeOf(writer.consume(failed, never))).toBe('WAL_UNAVAILABLE')
    expect(failed.name(5)).toBe('span 5')
    const members = log.messages.flatMap((message) => decodeEnvelope(message.bytes, message.seq))
    expect(members.map((member) => decodeBatch(member.bytes, failed.meta).name(599))).toEqual(
      Array.from({ length: 4 }, () => 'span 599'),
    )
  })

  it('refuses what is over its bound, retryably, and takes again afterwards', async () => {
    const { writer, driver } = setup({ maxPendingBytes: 100 })
    const { closed, open } = gate()
    driver.gate = closed
    const first = writer.consume(batchOf(Buffer.alloc(90, 1)), never)
    expect(await codeOf(writer.consume(batchOf(Buffer.alloc(20, 2)), never))).toBe('OVERLOADED')
    open()
    await first
    expect(writer.pendingBytes).toBe(0)
    await writer.consume(batchOf(Buffer.alloc(20, 2)), never)
  })

  it('passes on that the log refused, to all members of the message', async () => {
    const { writer, log } = setup()
    log.failing = 'before'
    const codes = [1, 2].map((n) => codeOf(writer.consume(batchOf(Buffer.alloc(5, n)), never)))
    expect(await Promise.all(codes)).toEqual(['WAL_UNAVAILABLE', 'WAL_UNAVAILABLE'])
    expect(faultOf(writer.lastFailure(1000))?.code).toBe('WAL_UNAVAILABLE')
    log.failing = undefined
    await writer.consume(batchOf(Buffer.alloc(5, 1)), never)
    expect(writer.lastFailure(1000)).toBeUndefined()
  })

  it('goes on with a write that its caller has given up, and says how it ended: it counts', async () => {
    const { writer, driver, log } = setup()
    const { closed, open } = gate()
    driver.gate = closed
    const caller = new AbortController()
    const consumed = writer.consume(batchOf(Buffer.alloc(10, 1)), caller.signal)
    caller.abort()
    expect(await codeOf(writer.consume(batchOf(Buffer.alloc(10, 2)), caller.signal))).toBe('CANCELLED')
    open()
    expect(await consumed).toBe(ACCEPTED)
    await writer.stop(AbortSignal.timeout(5000))
    expect(log.messages).toHaveLength(1)
    expect(writer.pendingBytes).toBe(0)
  })

  it('gives an append its deadline', async () => {
    const { writer, driver } = setup({ appendTimeoutMs: 20 })
    const { closed, open } = gate()
    driver.gate = closed
    expect(await codeOf(writer.consume(batchOf(Buffer.alloc(10, 1)), never))).toBe('WAL_UNAVAILABLE')
    open()
  })

  it('keeps a bounded number of bytes in flight, and the rest together', async () => {
    const { writer, driver, log } = setup({ maxPendingBytes: 1 << 26 })
    const { closed, open } = gate()
    driver.gate = closed
    const sizes = Array.from({ length: 40 }, (_, n) => 300_000 + n)
    const consumed = sizes.map((size) => writer.consume(batchOf(Buffer.alloc(size, 1)), never))
    await new Promise((resolve) => setImmediate(resolve))
    open()
    await Promise.all(consumed)
    expect(log.messages).toHaveLength(sizes.length)
  })

  it('takes nothing and says so while it stops; an empty batch is safe at once', async () => {
    const { writer, log } = setup()
    await writer.consume(batchOf(new Uint8Array()), never)
    expect(log.messages).toHaveLength(0)
    await writer.stop(AbortSignal.timeout(1000))
    await writer.stop(AbortSignal.timeout(1000))
    expect(await codeOf(writer.consume(batchOf(Buffer.alloc(1)), never))).toBe('SHUTTING_DOWN')
  })

  it('refuses what it could not write by the deadline', async () => {
    const { writer, driver } = setup({ maxPendingBytes: 1 << 26 })
    driver.gate = gate().closed
    const codes = Array.from({ length: 30 }, () =>
      codeOf(writer.consume(batchOf(Buffer.alloc(400_000, 1)), never)),
    )
    await new Promise((resolve) => setImmediate(resolve))
    await writer.stop(AbortSignal.timeout(20))
    expect(await codes[29]).toBe('SHUTTING_DOWN')
  })
})
