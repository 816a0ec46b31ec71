import { readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { startClickHouse } from '../clickhouse-http.ts'
import { NatsServer } from '../nats.ts'
import { startDaemon, type Daemon } from '../support/daemon.ts'
import { startSender } from '../support/ledger-sender.ts'
import { until } from '../support/until.ts'
import { expectBalance, expectLedger, reckon, stateOf } from './reckon.ts'
import { daemonConfig, randomOf, say, seedOf } from './world.ts'

/** What nats-server finds at its next start. Half of the messages are delivered, half of them are not. */
const DAMAGES = [
  'flipped',
  'flipped at the end',
  'cut',
  'cut where it was delivered',
  'gone',
  'without indexes',
] as const
const SEED = seedOf(process.env)
const SPANS = 5
const BACK_MS = 60_000

interface Block {
  readonly file: string
  /** Of each message: sequence, offset, length. */
  readonly records: readonly (readonly [seq: number, at: number, bytes: number])[]
}

/**
 * The stream's only block. A record: length u32 (highest bit: has headers), sequence u64, time i64, length of the subject u16,
 * subject, headers, message, hash of 8 bytes (nats-server, `filestore.go`).
 */
function blockOf(nats: NatsServer): Block {
  const directory = join(nats.storeDir, 'jetstream/$G/streams/WEIR/msgs')
  const [name = '', ...others] = readdirSync(directory).filter((file) => file.endsWith('.blk'))
  expect(others).toEqual([])
  const file = join(directory, name)
  const bytes = readFileSync(file)
  const records: [number, number, number][] = []
  for (let at = 0; at < bytes.length;) {
    const length = bytes.readUInt32LE(at) & 0x7fff_ffff
    records.push([Number(bytes.readBigUInt64LE(at + 4)), at, length])
    at += length
  }
  return { file, records }
}

function flip({ file }: Block, at: number): void {
  const bytes = readFileSync(file)
  bytes[at] = (bytes[at] ?? 0) ^ 0x55
  writeFileSync(file, bytes)
}

/** Breaks the files; `delivered` is the last sequence that the cursor has passed. */
function damage(
  kind: (typeof DAMAGES)[number],
  nats: NatsServer,
  delivered: number,
  random: () => number,
): void {
  const block = blockOf(nats)
  const waiting = block.records.filter(([seq]) => seq > delivered)
  expect(waiting.length).toBeGreaterThan(20)
  const [, at, bytes] = waiting[1 + Math.floor(random() * (waiting.length - 10))] ?? [0, 0, 0]
  const [, lastAt, lastBytes] = waiting.at(-1) ?? [0, 0, 0]
  const [, passedAt, passedBytes] = block.records[Math.floor((delivered * (1 + random())) / 2) - 1] ?? [
    0, 0, 0,
  ]
  const directory = join(block.file, '..')
  if (kind === 'flipped') flip(block, at + (bytes >> 1))
  if (kind === 'flipped at the end') flip(block, lastAt + (lastBytes >> 1))
  if (kind === 'cut') truncateSync(block.file, at + (bytes >> 1))
  if (kind === 'cut where it was delivered') truncateSync(block.file, passedAt + (passedBytes >> 1))
  if (kind === 'gone') for (const name of readdirSync(directory)) rmSync(join(directory, name))
  if (kind === 'without indexes')
    for (const name of readdirSync(directory)) if (!name.endsWith('.blk')) rmSync(join(directory, name))
}

async function figure(daemon: Daemon, name: string): Promise<number> {
  return (await daemon.metrics()).sum(name)
}

test.skipIf(process.env['WEIR_FAULTS'] === undefined).for(DAMAGES)(
  'files of the stream %s: what is not lost is delivered once, and what is lost is told',
  { timeout: 180_000 },
  async (kind, { onTestFinished }) => {
    const random = randomOf(SEED)
    const nats = await NatsServer.start()
    onTestFinished(() => nats.stop())
    const clickhouse = await startClickHouse()
    onTestFinished(() => clickhouse.close())
    const config = daemonConfig({ nats: nats.url, clickhouse: clickhouse.url, timeout: '2s' })
    const daemon = await startDaemon({ config })
    onTestFinished(() => daemon.stop())
    await daemon.ready()
    // One sender: one message per request.
    const sender = startSender({ endpoint: () => daemon.endpoints.grpc, senders: 1, spansPerRequest: SPANS })
    onTestFinished(() => sender.abort())
    await sender.progress(40)
    await until(async () => (await figure(daemon, 'weir_cursor_position')) > 20, BACK_MS)
    clickhouse.intercept = () => ({ drop: 'before' })
    await sender.progress(80)
    const delivered = await figure(daemon, 'weir_cursor_position')
    await nats.kill(random() < 0.5 ? 'SIGTERM' : 'SIGKILL')
    const acked = sender.acked.size
    // What it has read ahead is in its memory, and would be delivered from there.
    daemon.killStore()
    damage(kind, nats, delivered, random)
    await nats.start()
    await sender.progress(40, BACK_MS)
    clickhouse.intercept = undefined
    await sender.progress(40, BACK_MS)
    await sender.finish(BACK_MS)
    const missing = (): Promise<number> => figure(daemon, 'weir_wal_missing_messages')
    const wanted = async (): Promise<number> => (sender.acked.size - (await missing())) * SPANS
    const rows = async (): Promise<number> =>
      Number((await daemon.query('SELECT count() FROM otel_traces'))[0]?.[0])
    await until(async () => (await rows()) >= (await wanted()), BACK_MS)
    const lost = (await missing()) * SPANS
    const reckoning = await reckon((sql) => daemon.query(sql), sender, { lost })
    say(`stream ${kind}, seed ${SEED}: ${JSON.stringify({ acked, delivered, told: lost, ...reckoning })}`)
    expect(reckoning.doubled).toBe(0)
    // A range whose insert was under way may have been taken, and nothing is left to ask about it.
    const taken = lost - reckoning.lost
    expect(taken).toBeGreaterThanOrEqual(0)
    if (kind === 'without indexes') expect(lost).toBe(0)
    else expect(lost).toBeGreaterThan(0)
    if (kind.startsWith('flipped')) expect(lost).toBe(SPANS)
    expect(lost).toBeLessThanOrEqual((acked - delivered + 1) * SPANS)
    await expectBalance(daemon)
    await daemon.kill('SIGTERM')
    await expectLedger(stateOf(daemon, nats.url), reckoning.rows - taken)
  },
)
