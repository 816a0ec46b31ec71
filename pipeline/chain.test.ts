import { describe, expect, it } from 'vitest'
import type { Admission, Head } from './admission.ts'
import type { Batch } from './batch/batch.ts'
import { decodeBatch } from './batch/otlp-batch.ts'
import type { Processor } from './component.ts'
import { ACCEPTED, rejectedCount, type Consumer } from './consumer.ts'
import { chain, entry, fanOut } from './chain.ts'
import { retry } from './fault.ts'
import { observeReceiver } from './telemetry/observe.ts'
import { createMeter } from './telemetry/prom-meter.ts'
import { requestBatch } from '../test/contract/wal-spans.ts'

const NEVER = new AbortController().signal
const head = {} as Head
const batchOf = (spans: number): Batch =>
  requestBatch(Array.from({ length: spans }, (_, row) => `span ${row}`))

/** Keeps what it is given: live spans per batch. */
function sink(fail?: Error) {
  const lives: number[] = []
  const consumer: Consumer = {
    async consume(batch: Batch) {
      lives.push(batch.live)
      if (fail !== undefined) throw fail
      return ACCEPTED
    },
  }
  return { lives, consumer }
}

const rejecting = (row: number): Processor => ({
  process: () => ({ rejected: [{ rows: [row], reason: `row ${row}` }] }),
})

describe('chain', () => {
  it('drops what a processor rejects, and reports it with what the consumer rejects', async () => {
    const { lives, consumer } = sink()
    const outcome = await chain([rejecting(0), rejecting(2)], consumer).consume(batchOf(3), NEVER)
    expect(lives).toEqual([1])
    expect(outcome.rejected.map(({ reason }) => reason)).toEqual(['row 0', 'row 2'])
  })

  it('lets nothing of a batch through that was promised whole', async () => {
    const { lives, consumer } = sink()
    const plain = batchOf(3)
    const batch = decodeBatch(plain.encode(), { ...plain.meta, whole: true })
    const outcome = await chain([rejecting(1)], consumer).consume(batch, NEVER)
    expect(lives).toEqual([])
    expect(batch.live).toBe(0)
    expect(outcome.rejected.map(({ reason }) => reason)).toEqual(['row 1'])
  })

  it('ends with success when nothing is left, without asking the consumer', async () => {
    const { lives, consumer } = sink()
    await chain([rejecting(0)], consumer).consume(batchOf(1), NEVER)
    expect(lives).toEqual([])
  })
})

describe('fanOut', () => {
  it('gives each consumer a batch of its own, and fails when one of them fails, after all have ended', async () => {
    const [first, second] = [sink(), sink(retry('WAL_FULL', 'full'))]
    const dropping = chain([rejecting(0)], first.consumer)
    await expect(fanOut([dropping, second.consumer]).consume(batchOf(2), NEVER)).rejects.toThrow('full')
    expect([first.lives, second.lives]).toEqual([[1], [2]])
  })

  it('tells of a span once that several of them reject', async () => {
    const consumers = [rejecting(0), rejecting(0), rejecting(1)].map((one) => chain([one], sink().consumer))
    const outcome = await fanOut(consumers).consume(batchOf(2), NEVER)
    expect(rejectedCount(outcome)).toBe(2)
    expect(outcome.rejected).toEqual([
      { rows: [0], reason: 'row 0' },
      { rows: [1], reason: 'row 1' },
    ])
  })

  it('is a success where all reject all: who counts what was taken counts no less than nothing', async () => {
    const consumers = [rejecting(0), rejecting(0)].map((one) => chain([one], sink().consumer))
    const all = { admit: () => Promise.reject(new Error('not asked')), ...fanOut(consumers) }
    const observed = observeReceiver(all, 'otlp', createMeter())
    for (let at = 0; at < 2; at++) expect(rejectedCount(await observed.consume(batchOf(1), NEVER))).toBe(1)
  })
})

describe('entry', () => {
  const admitting = (admission: Admission): Processor => ({
    process: () => undefined,
    admit: () => admission,
  })

  it('folds admissions: the last word on the tenant, one release of each', async () => {
    let released = 0
    const release = (): void => void released++
    const processors = [
      admitting({ tenant: 'a', release }),
      admitting({ tenant: 'b', release }),
      admitting({}),
    ]
    const admitted = await entry(processors, sink().consumer, { authenticated: true }).admit(head)
    expect(admitted.tenant).toBe('b')
    admitted.release()
    admitted.release()
    expect(released).toBe(2)
  })

  it('gives back what was admitted when a later processor refuses', async () => {
    let released = 0
    const refusing: Processor = {
      process: () => undefined,
      admit: () => Promise.reject(retry('RATE_LIMITED', 'slower')),
    }
    const processors = [admitting({ release: () => void released++ }), refusing]
    await expect(entry(processors, sink().consumer, { authenticated: true }).admit(head)).rejects.toThrow(
      'slower',
    )
    expect(released).toBe(1)
  })

  it('tells each processor what those before found out, beginning with whose file it is', async () => {
    const heard: string[] = []
    const asking = (admission: Admission): Processor => ({
      process: () => undefined,
      admit: (_, sender) => {
        heard.push(`${sender.tenant}/${sender.project}/${sender.principal}`)
        return admission
      },
    })
    const processors = [asking({}), asking({ tenant: 'b', principal: 'key/1' }), asking({})]
    const owner = { tenant: 'a', project: 'p' }
    const admitted = await entry(processors, sink().consumer, { authenticated: true }).admit({
      ...head,
      owner,
    })
    expect(heard).toEqual(['a/p/', 'a/p/', 'b/p/key/1'])
    expect(admitted).toMatchObject({ tenant: 'b', project: 'p', principal: 'key/1' })
  })

  it('offers the check of event signatures only where a processor makes it', async () => {
    const checking = admitting({
      verifyEvent: (_, signature) => {
        if (signature !== 'good') throw retry('UNAUTHENTICATED', 'bad signature')
      },
    })
    const facts = { authenticated: true }
    const without = await entry([admitting({})], sink().consumer, facts).admit(head)
    expect('verifyEvent' in without).toBe(false)
    const admitted = await entry([checking], sink().consumer, facts).admit(head)
    await expect(admitted.verifyEvent?.(new Uint8Array(), 'good')).resolves.toBeUndefined()
    await expect(admitted.verifyEvent?.(new Uint8Array(), 'bad')).rejects.toThrow('bad signature')
  })

  it('is tenant default when nobody judges', async () => {
    expect((await entry([], sink().consumer, { authenticated: false }).admit(head)).tenant).toBe('default')
  })
})
