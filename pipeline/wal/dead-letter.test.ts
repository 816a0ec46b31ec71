import { describe, expect, it } from 'vitest'
import { MemoryState } from '../../test/contract/wal-memory.ts'
import { faultOf } from '../fault.ts'
import { createMeter } from '../telemetry/prom-meter.ts'
import { DeadLetters, type NewDeadLetter } from './dead-letter.ts'

function setup(maxBytes = 1 << 24, maxAgeMs = 0) {
  const meter = createMeter()
  const time = { ms: 1000 }
  const state = new MemoryState()
  const options = { connector: 'wal', state, meter, clock: () => time.ms, maxBytes, maxAgeMs }
  return { letters: new DeadLetters(options), meter, time }
}

function letter(seq: number, body: Uint8Array, attempts = 1): NewDeadLetter {
  return {
    cursor: 'traces/x',
    component: 'x',
    reason: 'no',
    tenant: 'a',
    project: '',
    principal: '',
    source: '',
    receivedAtMs: 0,
    seq,
    row: 3,
    spans: 1,
    attempts,
    format: 'otlp',
    body,
  }
}

describe('dead letters', () => {
  it('keep bodies of any size, and give them back', async () => {
    const { letters } = setup()
    const body = Buffer.from(Array.from({ length: 700_000 }, (_, n) => n & 255))
    await letters.put([letter(1, body), letter(2, new Uint8Array())])
    expect(Buffer.compare((await letters.get('traces/x@1.3')).body, body)).toBe(0)
    expect((await letters.get('traces/x@2.3')).body).toHaveLength(0)
    await expect(letters.get('traces/x@9.3')).rejects.toSatisfy((e) => faultOf(e)?.code === 'NOT_FOUND')
    expect([await letters.remove('traces/x@1.3'), await letters.remove('traces/x@1.3')]).toEqual([
      true,
      false,
    ])
  })

  it('are the same letter when the range is repeated, and count once', async () => {
    const { letters, meter, time } = setup()
    await letters.put([letter(1, Buffer.from('a'))])
    time.ms = 2000
    await letters.put([letter(1, Buffer.from('a'), 4)])
    expect(await letters.list()).toMatchObject([{ attempts: 4, firstMs: 1000, lastMs: 2000 }])
    expect(await meter.render()).toContain('weir_dead_letter_spans{component="x"} 1')
  })

  it('leave when they have not been written for so long, counted', async () => {
    const { letters, meter, time } = setup(1 << 24, 5000)
    for (const ms of [1000, 2000, 3000]) {
      time.ms = ms
      await letters.put([letter(ms, Buffer.from('a'))])
    }
    time.ms = 4000
    await letters.put([letter(1000, Buffer.from('a'))])
    time.ms = 7500
    await letters.enforce()
    expect(await letters.figures()).toMatchObject({ letters: 2, oldestMs: 1000 })
    expect((await letters.list()).map(({ seq }) => seq)).toEqual([1000, 3000])
    expect(await meter.render()).toContain(
      'weir_dropped_spans{reason="dead_letters_expired",component="wal"} 1',
    )
  })

  it('lose the oldest first over their bound, counted', async () => {
    const { letters, meter, time } = setup(10_000)
    for (let seq = 1; seq <= 12; seq++) {
      time.ms = seq
      await letters.put([letter(seq, Buffer.alloc(2000))])
    }
    const left = await letters.list()
    expect(left.map((one) => one.seq)).toEqual([9, 10, 11, 12])
    expect(await meter.render()).toContain('weir_dropped_spans{reason="dead_letters_full",component="wal"} 8')
  })
})
