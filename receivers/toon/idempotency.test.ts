import { pino } from 'pino'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { Batch } from '../../pipeline/batch/batch.ts'
import { retry } from '../../pipeline/fault.ts'
import { createStateStore, stateSchema } from '../../pipeline/state/create.ts'
import type { StateStore } from '../../pipeline/state/state.ts'
import { createMeter } from '../../pipeline/telemetry/prom-meter.ts'
import type { OutgoingMessage } from '../../pipeline/wal/driver.ts'
import { decodeEnvelope } from '../../pipeline/wal/envelope.ts'
import { lookbackOf } from '../../pipeline/wal/lookback.ts'
import { WalWriter } from '../../pipeline/wal/writer.ts'
import { MemoryDriver, MemoryLog } from '../../test/contract/wal-memory.ts'
import { NatsServer } from '../../test/nats.ts'
import { attribute, openState, reasoning, toonRig, type ToonRig } from '../../test/support/toon-rig.ts'

const KEY = (key: string) => ({ 'idempotency-key': key })
const EVENTS = '/v1/runs/r/events'
const begin = (rig: ToonRig) => rig.ask('POST', '/v1/runs', { run_id: 'r', agent_id: 'a' })

function seqsOf(batches: readonly Batch[]): number[] {
  return batches
    .flatMap((batch) =>
      Array.from({ length: batch.rows }, (_, row) => Number(attribute(batch, row, 'toon.seq'))),
    )
    .sort((a, b) => a - b)
}

describe('a repeat', () => {
  it('gets the first answer byte for byte, after a restart too; another body is refused', async () => {
    const state = await openState()
    const first = await toonRig({ state })
    await begin(first)
    const body = [reasoning('x'), reasoning('y')]
    const answer = await first.ask('POST', EVENTS, body, KEY('k'))
    expect(answer.status).toBe(202)
    await first.ask('POST', EVENTS, [reasoning('z')], KEY('later'))
    expect((await first.ask('POST', EVENTS, body, KEY('k'))).text).toBe(answer.text)
    expect((await first.ask('POST', EVENTS, body, KEY('"k"'))).text).toBe(answer.text)
    expect(await first.ask('POST', EVENTS, [reasoning('x')], KEY('k'))).toMatchObject({
      status: 422,
      json: { type: 'urn:weir:key-reused' },
    })
    await first.ask('POST', '/v1/runs/r/finish')
    await first.stop()
    const second = await toonRig({ state })
    expect((await second.ask('POST', EVENTS, body, KEY('k'))).text).toBe(answer.text)
    expect(second.batches).toEqual([])
  })

  it('waits for the first while that is under way, and neither is published twice', async () => {
    let go: () => void = () => {}
    let consumed = 0
    const gate = new Promise<void>((resolve) => (go = resolve))
    const rig = await toonRig({
      consume: async () => {
        consumed++
        await gate
        return { rejected: [] }
      },
    })
    await begin(rig)
    const send = () => rig.ask('POST', EVENTS, [reasoning('x'), reasoning('y')], KEY('k'))
    const both = [send(), send(), send()]
    await expect.poll(() => consumed).toBe(1)
    go()
    const texts = (await Promise.all(both)).map(({ text }) => text)
    expect(new Set(texts).size).toBe(1)
    expect(consumed).toBe(1)
    expect(seqsOf(rig.batches)).toEqual([1, 2])
  })

  it.each([
    ['has', 0],
    ['has not', 1],
  ])('of a batch whose daemon died before it could answer, and that the WAL %s', async (_, published) => {
    const state = await openState()
    let lost: Batch | undefined
    const dead = await toonRig({
      state,
      lookback: { position: async () => '41', stored: async () => [] },
      consume: (batch) => {
        if (batch.rows === 1) return Promise.resolve({ rejected: [] })
        lost = batch
        return new Promise(() => {})
      },
    })
    await begin(dead)
    await dead.ask('POST', EVENTS, { ...reasoning('r'), type: 'action_request', payload: { action: 'a' } })
    const body = [
      { ...reasoning('q'), type: 'action_request', payload: { action: 'search' } },
      { ...reasoning('q'), type: 'action_response', payload: { status: 'success' } },
      { ...reasoning('q'), type: 'action_response', payload: { status: 'success' } },
    ]
    void dead.ask('POST', EVENTS, body, KEY('k')).catch(() => {})
    await expect.poll(() => lost?.rows).toBe(3)
    expect([lost?.name(1), lost?.name(2)]).toEqual(['execute_tool search', 'execute_tool a'])
    const asked: unknown[] = []
    const alive = await toonRig({
      state,
      lookback: {
        position: async () => '50',
        stored: async (tenant, digest, since) => {
          asked.push([tenant, Buffer.from(digest).equals(Buffer.from(lost?.meta.digest ?? [])), since])
          return published === 0 ? [{ first: 0, end: 3, last: true }] : []
        },
      },
    })
    // What comes in between changes which request is open.
    await alive.ask('POST', EVENTS, {
      ...reasoning('r'),
      type: 'action_request',
      payload: { action: 'other' },
    })
    alive.batches.length = 0
    const answer = await alive.ask('POST', EVENTS, body, KEY('k'))
    expect(answer).toMatchObject({ status: 202, json: { accepted: 3, first_seq: 2, last_seq: 4 } })
    expect(asked).toEqual([['default', true, '41']])
    expect(alive.batches).toHaveLength(published)
    if (published > 0) expect(alive.batches[0]?.encode()).toEqual(lost?.encode())
    expect((await alive.ask('POST', EVENTS, body, KEY('k'))).text).toBe(answer.text)
    expect(alive.batches).toHaveLength(published)
  })

  it('of a batch of which the WAL took only a part stores the rest', async () => {
    const log = new MemoryLog()
    const driver = new (class extends MemoryDriver {
      #appends = 0
      override append(message: OutgoingMessage): Promise<number> {
        return ++this.#appends === 2 ? Promise.reject(retry('WAL_FULL', 'full')) : super.append(message)
      }
    })(log, 1500)
    const onAppended = () => {}
    const limits = { connector: 'wal', maxPendingBytes: 1e6, onAppended }
    const writer = new WalWriter({ driver, meter: createMeter(), ...limits })
    const consume = (batch: Batch) => writer.consume(batch, new AbortController().signal)
    const rig = await toonRig({ consume, lookback: lookbackOf(driver) })
    await begin(rig)
    const body = [reasoning('x'.repeat(800)), reasoning('y'.repeat(800))]
    expect(await rig.ask('POST', EVENTS, body, KEY('k'))).toMatchObject({ status: 429 })
    expect(await rig.ask('POST', EVENTS, body, KEY('k'))).toMatchObject({ status: 202 })
    const parts = log.messages.flatMap(({ bytes, seq }) => decodeEnvelope(bytes, seq))
    const texts = parts.map(({ bytes }) => Buffer.from(bytes).toString('latin1'))
    // Each event once, in the log itself: the reader knows repeats for 20 minutes only.
    expect(parts.map(({ spans }) => spans)).toEqual([1, 1])
    expect(texts.map((text) => [text.includes('x'.repeat(800)), text.includes('y'.repeat(800))])).toEqual([
      [true, false],
      [false, true],
    ])
    const known = log.messages.length
    expect(await rig.ask('POST', EVENTS, body, KEY('k'))).toMatchObject({ status: 202 })
    expect(log.messages).toHaveLength(known)
  })

  it('of a batch of several runs is known by each of them', async () => {
    const state = await openState()
    const dead = await toonRig({ state })
    for (const id of ['r', 's']) await dead.ask('POST', '/v1/runs', { run_id: id, agent_id: 'a' })
    await dead.ask('POST', EVENTS, [reasoning('1'), reasoning('2')], KEY('before'))
    const body = ['r', 's'].map((id) => reasoning(id, { meta: { run_id: id } }))
    const answer = await dead.ask('POST', '/v1/events', body, KEY('k'))
    // Its next change makes one run's answer durable; the daemon dies before it notes the other's.
    await dead.ask('POST', EVENTS, [reasoning('3'), reasoning('4')], KEY('after'))
    const lookback = { position: async () => '9', stored: async () => [] }
    const alive = await toonRig({ state, lookback })
    expect((await alive.ask('POST', '/v1/events', body, KEY('k'))).text).toBe(answer.text)
    expect(alive.batches).toEqual([])
  })

  it('is known when the record has given its oldest keys to pages', async () => {
    const state = await openState()
    const first = await toonRig({ state })
    await begin(first)
    const answers: string[] = []
    for (let n = 0; n < 300; n++)
      answers.push((await first.ask('POST', EVENTS, reasoning(`${n}`), KEY(`${n}`))).text)
    await first.stop()
    const second = await toonRig({ state })
    for (const [n, text] of answers.entries()) {
      if (n % 7 === 0)
        expect((await second.ask('POST', EVENTS, reasoning(`${n}`), KEY(`${n}`))).text).toBe(text)
    }
    expect(second.batches).toEqual([])
    expect(await second.ask('POST', EVENTS, reasoning('new'), KEY('new'))).toMatchObject({
      json: { first_seq: 301 },
    })
  })
})

describe('numbers', () => {
  const WRITERS = 32
  const BATCHES = 5

  async function write(rigs: readonly ToonRig[]): Promise<void> {
    await Promise.all(
      Array.from({ length: WRITERS }, async (_, writer) => {
        const rig = rigs[writer % rigs.length] as ToonRig
        let last = 0
        for (let n = 0; n < BATCHES; n++) {
          const answer = await rig.ask(
            'POST',
            EVENTS,
            [reasoning('x'), reasoning('y')],
            KEY(`${writer}/${n}`),
          )
          expect(answer.status).toBe(202)
          expect(answer.json['last_seq']).toBe(Number(answer.json['first_seq']) + 1)
          expect(Number(answer.json['first_seq'])).toBeGreaterThan(last)
          last = Number(answer.json['last_seq'])
        }
      }),
    )
  }

  const ALL = Array.from({ length: WRITERS * BATCHES * 2 }, (_, at) => at + 1)

  it('are given once and grow, under 32 writers', async () => {
    const rig = await toonRig()
    await begin(rig)
    await write([rig])
    expect(seqsOf(rig.batches)).toEqual(ALL)
  })

  it('are given once and grow, under 32 writers of two daemons on one JetStream; a repeat at the other gets the same answer', async () => {
    const nats = await NatsServer.start()
    onTestFinished(() => nats.stop())
    const rigs: ToonRig[] = []
    for (let n = 0; n < 2; n++) rigs.push(await toonRig({ state: await jetstream(nats.url) }))
    const [a, b] = rigs as [ToonRig, ToonRig]
    await begin(a)
    await write(rigs)
    expect(seqsOf([...a.batches, ...b.batches])).toEqual(ALL)
    a.batches.length = 0
    b.batches.length = 0
    const send = (rig: ToonRig) => rig.ask('POST', EVENTS, [reasoning('p'), reasoning('q')], KEY('same'))
    const answers = await Promise.all([send(a), send(b), send(a), send(b)])
    expect(new Set(answers.map(({ text }) => text)).size).toBe(1)
    // Both may have published: the WAL's reader drops the second by its digest.
    const digests = [...a.batches, ...b.batches].map(({ meta }) => Buffer.from(meta.digest).toString('hex'))
    expect(new Set(digests).size).toBe(1)
  })

  async function jetstream(url: string): Promise<StateStore> {
    const state = await createStateStore(
      stateSchema.parse({ driver: 'jetstream', servers: [url] }),
      pino({ level: 'silent' }),
    )
    await state.open()
    onTestFinished(() => state.close())
    return state
  }
})
