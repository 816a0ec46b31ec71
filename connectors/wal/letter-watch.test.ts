import { expect, test } from 'vitest'
import { MemoryState } from '../../test/contract/wal-memory.ts'
import { extensionContext } from '../../test/support/extension-context.ts'
import { createMeter } from '../../pipeline/telemetry/prom-meter.ts'
import { DeadLetters } from '../../pipeline/wal/dead-letter.ts'
import { LetterWatch } from './letter-watch.ts'

test('dead letters are shown, and say when they push each other out', async () => {
  const meter = createMeter()
  let now = 1000
  const clock = () => now
  const letters = new DeadLetters({
    connector: 'wal',
    state: new MemoryState(),
    meter,
    clock,
    maxBytes: 10_000,
    maxAgeMs: 100_000,
  })
  const { context, close } = extensionContext('wal')
  const watch = new LetterWatch(letters, { ...context, meter, clock }, 10_000)
  const facts = {
    cursor: 'c',
    component: 'x',
    tenant: 'a',
    project: '',
    principal: '',
    source: '',
    reason: 'no',
  }
  const letter = { ...facts, receivedAtMs: 0, row: 0, spans: 1, attempts: 1, format: 'otlp' } as const
  await letters.put([1, 2].map((seq) => ({ ...letter, seq, body: Buffer.alloc(4000) })))
  now = 5000
  await watch.look()
  expect(await meter.render()).toContain('weir_dead_letters{connector="wal"} 2')
  expect(await meter.render()).toContain('weir_dead_letter_oldest_age_seconds{connector="wal"} 4')
  expect(watch.degraded()).toEqual([expect.stringContaining('weir dlq ls')])
  now = 200_000
  await letters.enforce()
  await watch.look()
  expect(await meter.render()).toContain('weir_dead_letters{connector="wal"} 0')
  expect(watch.degraded()).toEqual([])
  await close()
})
