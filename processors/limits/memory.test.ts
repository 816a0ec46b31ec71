import { fork } from 'node:child_process'
import { once } from 'node:events'
import pino from 'pino'
import { describe, expect, it } from 'vitest'
import { ByteGate } from '../../pipeline/intake.ts'
import { Pressure } from '../../pipeline/pressure.ts'
import { memoryLimit, memoryUse } from '../../pipeline/process-memory.ts'
import { config } from './config.ts'
import { daemonRefusal, sheds } from './daemon-limits.ts'
import { MemoryGuard } from './memory.ts'

const MIB = 1024 * 1024

function guard(settings: object, totalMib = 1000) {
  const use = { residentBytes: 0, allBytes: 0, heapBytes: 0, heapLimitBytes: 1000 * MIB }
  const lines: string[] = []
  const log = pino(
    {},
    { write: (line: string) => void lines.push((JSON.parse(line) as { msg: string }).msg) },
  )
  const made = new MemoryGuard(config.parse(settings), log, () => use, totalMib * MIB)
  return { made, use, lines }
}

describe('limits of memory', () => {
  it.each<[object, hard: number, soft: number]>([
    [{}, 750, 600],
    [{ limit_mib: 400 }, 400, 320],
    [{ limit_mib: 400, spike_limit_mib: 100 }, 400, 300],
    [{ limit_percentage: 50 }, 500, 400],
    [{ limit_percentage: 50, spike_limit_percentage: 30 }, 500, 200],
    [{ limit_mib: 400, limit_percentage: 50 }, 400, 320],
  ])('%j of 1000 MiB: hard %i, soft %i', (settings, hard, soft) => {
    const { made } = guard(settings)
    expect([made.hardBytes / MIB, made.softBytes / MIB]).toEqual([hard, soft])
  })

  it('follow resident memory and the heap, up and down, and are logged in the collector’s words', () => {
    const { made, use, lines } = guard({ limit_mib: 400 })
    const states = [319, 321, 401, 321, 100].map((mib) => {
      use.residentBytes = mib * MIB
      made.look()
      return made.state
    })
    expect(states).toEqual(['ok', 'soft', 'hard', 'soft', 'ok'])
    use.heapBytes = 910 * MIB
    made.look()
    expect(made.state).toBe('hard')
    expect(lines.slice(0, 2)).toEqual([
      'Memory usage is above soft limit. Refusing data.',
      'Memory usage is above hard limit. Refusing data.',
    ])
  })
})

it('counts what the store process has against all there is', () => {
  const { made, use } = guard({})
  const states = [790, 810, 910, 500].map((mib) => {
    use.allBytes = mib * MIB
    made.look()
    return made.state
  })
  expect(states).toEqual(['ok', 'soft', 'hard', 'ok'])
})

it('above the hard limit even what is being read is given up, above the soft one only what is new', () => {
  const { made, use } = guard({ limit_mib: 400 })
  const intake = new ByteGate(1e9)
  const facts = { config: config.parse({}), memory: made, intake, pressure: new Pressure() }
  const judged = [300, 350, 450].map((mib) => {
    use.residentBytes = mib * MIB
    made.look()
    return [daemonRefusal(facts, 'acme', 1, 0)?.limit, sheds(facts, 1)?.limit]
  })
  expect(judged).toEqual([
    [undefined, undefined],
    ['memory', undefined],
    ['memory', 'memory'],
  ])
})

it('is measured: what is allocated shows, and less than the machine has is in use', () => {
  const before = memoryUse().residentBytes
  const block = Buffer.alloc(256 * MIB, 1)
  expect(memoryUse().residentBytes - before).toBeGreaterThan(192 * MIB)
  expect(block[5]).toBe(1)
  expect(memoryUse().residentBytes).toBeLessThan(memoryLimit())
})

it.runIf(process.platform === 'linux')(
  'is measured with the processes that this one has forked',
  async () => {
    const child = fork(new URL('../../test/support/store-child.mjs', import.meta.url), { execArgv: [] })
    try {
      // It has answered, so it has loaded its code.
      child.send({ id: 1, method: 'health' })
      await once(child, 'message')
      const { residentBytes, allBytes } = memoryUse()
      expect(allBytes - residentBytes).toBeGreaterThan(5 * MIB)
    } finally {
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
  },
)
