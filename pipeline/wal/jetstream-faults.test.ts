import { jetstreamManager } from '@nats-io/jetstream'
import { connect } from '@nats-io/transport-node'
import pino from 'pino'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { message } from '../../test/contract/wal-driver.ts'
import { NatsServer } from '../../test/nats.ts'
import { faultOf } from '../fault.ts'
import { JetStreamWal } from './jetstream.ts'

let server: NatsServer
let wal: JetStreamWal

beforeEach(async () => {
  server = await NatsServer.start()
  wal = make()
  await wal.open()
})
afterEach(async () => {
  await wal.close()
  await server.stop()
})

function make(): JetStreamWal {
  return new JetStreamWal({
    nats: { servers: [server.url] },
    stream: 'WEIR',
    subjectPrefix: 'weir',
    replicas: 1,
    maxBytes: 1024 ** 3,
    durability: 'process',
    monitorUrl: undefined,
    storeDir: undefined,
    log: pino({ level: 'silent' }),
  })
}

const idOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString().replace(/\.+$/, '')

/** Appends until told to end, as the WAL writer does: a retryable refusal is repeated under the same id. */
async function publish(worker: number, end: AbortSignal, acked: Map<string, number>): Promise<number> {
  let refused = 0
  for (let at = 0; !end.aborted; at++) {
    const id = `${worker}-${at}`
    const next = message(id.padEnd(2000 + ((at * 7919) % 90_000), '.'), 'default', id)
    while (!acked.has(id)) {
      try {
        acked.set(id, await wal.append(next))
      } catch (error) {
        expect(faultOf(error)?.verdict.do).toBe('retry')
        refused++
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
    }
  }
  return refused
}

it('has all that was acknowledged, none twice, and reads on without loss or repeat, over ten kills of the server', async () => {
  const acked = new Map<string, number>()
  const read: { seq: number; id: string }[] = []
  const ended = { publishing: new AbortController(), reading: new AbortController() }
  const port = wal.reader(0)
  let progress: (() => void) | undefined
  const reading = (async () => {
    while (!ended.reading.signal.aborted) {
      for (const { seq, bytes } of await port.next(1 << 20, ended.reading.signal))
        read.push({ seq, id: idOf(bytes) })
      progress?.()
    }
  })()
  const reached = async (count: number): Promise<void> => {
    while (read.length < count) await new Promise<void>((resolve) => (progress = resolve))
  }
  const publishing = Array.from({ length: 8 }, (_, at) => publish(at, ended.publishing.signal, acked))
  for (let round = 0; round < 10; round++) {
    await reached(read.length + 50 + round * 20)
    await server.restart('SIGKILL')
  }
  await reached(read.length + 100)
  ended.publishing.abort()
  await Promise.all(publishing)
  await reached((await wal.info()).lastSeq)
  ended.reading.abort()
  await reading

  expect(read.map(({ seq }) => seq)).toEqual(Array.from({ length: read.length }, (_, at) => at + 1))
  const stored = new Map(read.map(({ id, seq }) => [id, seq]))
  expect(stored.size).toBe(read.length)
  expect(acked.size).toBeGreaterThan(1000)
  for (const [id, seq] of acked) expect(stored.get(id)).toBe(seq)
})

it('refuses retryably while the server is away, and stores the repeat once when it is back', async () => {
  await wal.append(message('before'))
  await server.kill()
  const held = message('held', 'default', 'held')
  await expect(wal.append(held)).rejects.toMatchObject({ code: 'WAL_UNAVAILABLE', verdict: { do: 'retry' } })
  await expect(wal.info()).rejects.toMatchObject({ code: 'WAL_UNAVAILABLE', verdict: { do: 'retry' } })
  await server.start()
  let seq: number | undefined
  while (seq === undefined) seq = await wal.append(held).catch(() => undefined)
  expect(await wal.append(held)).toBe(seq)
  expect((await wal.info()).messages).toBe(2)
})

it('refuses retryably when the stream has gone', async () => {
  const nc = await connect({ servers: server.url })
  await (await jetstreamManager(nc)).streams.delete('WEIR')
  await nc.close()
  await expect(wal.append(message('lost'))).rejects.toMatchObject({
    code: 'WAL_UNAVAILABLE',
    message: expect.stringContaining('stream WEIR') as string,
    verdict: { do: 'retry', afterMs: 1000 },
  })
})

it('takes no sequence twice of a stream that was made anew behind its back', async () => {
  wal.guard(async () => 4)
  for (const body of ['a', 'b', 'c']) await wal.append(message(body))
  expect((await wal.info()).lastSeq).toBe(7)
  const nc = await connect({ servers: server.url })
  const { streams } = await jetstreamManager(nc)
  const { config } = await streams.info('WEIR')
  await streams.delete('WEIR')
  await streams.add({ ...config, name: 'WEIR' })
  await nc.close()
  await expect(wal.append(message('d'))).rejects.toMatchObject({
    code: 'WAL_UNAVAILABLE',
    verdict: { do: 'retry' },
  })
  expect(await wal.append(message('e'))).toBe(8)
})
