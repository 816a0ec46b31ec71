import { createHash } from 'node:crypto'
import { pino } from 'pino'
import { afterEach, expect, test } from 'vitest'
import { decodeJsonBatch } from '../../pipeline/batch/otlp-batch.ts'
import type { Batch, BatchMeta } from '../../pipeline/batch/batch.ts'
import type { Delivery, Exporter } from '../../pipeline/component.ts'
import type { Context } from '../../pipeline/factory.ts'
import { NOBODY_KNOWN } from '../../pipeline/identity/view.ts'
import type { Meter } from '../../pipeline/telemetry/meter.ts'
import { NO_USAGE } from '../../pipeline/usage/usage.ts'
import { MemoryState } from './wal-memory.ts'

/** What an exporter is given in a test; nothing of it is shared. */
export function exporterContext(id: string): Context {
  const absent = new Proxy(
    {},
    { get: (_, name) => () => Promise.reject(new Error(`no ${String(name)} in this test`)) },
  )
  const meter: Meter = {
    counter: () => ({ add: () => undefined }),
    gauge: () => ({ set: () => undefined, remove: () => undefined }),
    histogram: () => ({ observe: () => undefined }),
  }
  return {
    id,
    kind: 'exporter',
    log: pino({ level: 'silent' }),
    meter,
    clock: Date.now,
    state: new MemoryState(),
    identity: NOBODY_KNOWN,
    listeners: absent as Context['listeners'],
    intake: absent as Context['intake'],
    pressure: absent as Context['pressure'],
    usage: NO_USAGE,
  }
}

export interface TestSpan {
  readonly spanId?: string
  readonly [field: string]: unknown
}

export const RECEIVED_AT_MS = Date.UTC(2026, 10, 21, 12)

/** A batch from OTLP/JSON spans under one resource and scope, ids and times filled in where left out. */
export function testBatch(
  spans: readonly TestSpan[],
  meta: Partial<BatchMeta> = {},
  resource: unknown = SHOP,
): Batch {
  const filled = spans.map((span, i) => ({
    traceId: '0af7651916cd43dd8448eb211c80319c',
    spanId: (i + 1).toString(16).padStart(16, '0'),
    name: `span ${i}`,
    kind: 1,
    startTimeUnixNano: String(BigInt(RECEIVED_AT_MS) * 1_000_000n + BigInt(i)),
    endTimeUnixNano: String(BigInt(RECEIVED_AT_MS) * 1_000_000n + BigInt(i) + 1_000_000n),
    ...span,
  }))
  const scopeSpans = [{ scope: { name: 'test', version: '1' }, spans: filled }]
  return batchOfJson({ resourceSpans: [{ resource, scopeSpans }] }, meta)
}

const SHOP = { attributes: [{ key: 'service.name', value: { stringValue: 'shop' } }] }

/** A batch from an OTLP/JSON request. */
export function batchOfJson(request: unknown, meta: Partial<BatchMeta> = {}): Batch {
  const body = Buffer.from(JSON.stringify(request))
  return decodeJsonBatch(body, {
    signal: 'traces',
    tenant: 'default',
    project: '',
    principal: '',
    source: 'test',
    receivedAtMs: RECEIVED_AT_MS,
    digest: createHash('sha256').update(body).digest().subarray(0, 16),
    ...meta,
  })
}

/** One frozen range over batches, numbered as the WAL reader would: one message per batch from `from` on. */
export function testDelivery(batches: readonly Batch[], range: Partial<Delivery['range']> = {}): Delivery {
  const from = range.from ?? 1
  const to = from + batches.length - 1
  return {
    cursor: 'traces/store/test',
    range: { from, to, token: `test-${from}-${to}`, attempt: 0, ...range },
    batches,
    spans: batches.reduce((sum, batch) => sum + batch.live, 0),
  }
}

export interface ExporterUnderTest {
  readonly exporter: Exporter
  /** Span ids that the destination holds now, hexadecimal, one per stored copy. */
  readonly stored: () => Promise<string[]>
  readonly close: () => Promise<void>
}

export interface ExporterContract {
  readonly name: string
  /** A new exporter over an empty destination, not started. */
  readonly make: () => Promise<ExporterUnderTest>
  /** `deliver` of the same range stores nothing twice. */
  readonly exactlyOnce: boolean
}

const NEVER = new AbortController().signal

/** What the WAL reader and the engine rely on, for every exporter. */
export function exporterContract({ name, make, exactlyOnce }: ExporterContract): void {
  let subject: ExporterUnderTest | undefined
  afterEach(async () => {
    await subject?.exporter.stop?.(NEVER)
    await subject?.close()
    subject = undefined
  })

  async function started(): Promise<ExporterUnderTest> {
    subject = await make()
    await subject.exporter.start?.()
    return subject
  }

  test(`${name}: stop is safe before start and twice`, async () => {
    subject = await make()
    await subject.exporter.stop?.(NEVER)
    await subject.exporter.start?.()
    await subject.exporter.stop?.(NEVER)
    await subject.exporter.stop?.(NEVER)
  })

  test(`${name}: what consume resolved for is stored`, async () => {
    const { exporter, stored } = await started()
    const outcome = await exporter.consume(testBatch([{}, {}, {}]), NEVER)
    expect(outcome.rejected).toEqual([])
    expect((await stored()).toSorted()).toEqual(['0000000000000001', '0000000000000002', '0000000000000003'])
  })

  test(`${name}: what is staged is stored only by its delivery, as it is then`, async () => {
    const { exporter, stored } = await started()
    const batches = ['a', 'b', 'c'].map((id, at) =>
      testBatch([{ spanId: id.repeat(16) }, { spanId: `${id}${'0'.repeat(15)}` }], {
        wal: { seq: at + 1, row: 0 },
      }),
    )
    const deliver = async (batch: Batch, seq: number) =>
      exporter.deliver?.(testDelivery([batch], { from: seq, to: seq }), NEVER) ??
      exporter.consume(batch, NEVER)
    const [first, second, third] = batches as [Batch, Batch, Batch]
    const sending = deliver(first, 1)
    exporter.stage?.([second])
    exporter.stage?.([third])
    await sending
    expect((await stored()).toSorted()).toEqual(['a000000000000000', 'aaaaaaaaaaaaaaaa'])
    // Staged, then changed; staged, then another comes first.
    third.drop(1, 'sampled')
    await deliver(third, 3)
    exporter.stage?.([third])
    await deliver(second, 2)
    expect((await stored()).toSorted()).toEqual([
      'a000000000000000',
      'aaaaaaaaaaaaaaaa',
      'b000000000000000',
      'bbbbbbbbbbbbbbbb',
      'cccccccccccccccc',
    ])
  })

  test(`${name}: a dropped span is not stored`, async () => {
    const { exporter, stored } = await started()
    const batch = testBatch([{}, {}])
    batch.drop(0, 'sampled')
    await exporter.consume(batch, NEVER)
    expect(await stored()).toEqual(['0000000000000002'])
  })

  test(`${name}: an empty batch is no error`, async () => {
    const { exporter, stored } = await started()
    await exporter.consume(testBatch([]), NEVER)
    expect(await stored()).toEqual([])
  })

  test(`${name}: probe resolves while the destination is there`, async () => {
    const { exporter } = await started()
    await exporter.probe?.(NEVER)
  })

  if (!exactlyOnce) return
  test(`${name}: a range that is delivered again is stored once`, async () => {
    const { exporter, stored } = await started()
    const batches = () =>
      [1, 2].map((seq) => testBatch([{ spanId: `000000000000000${seq}` }], { wal: { seq, row: 0 } }))
    for (const attempt of [0, 0, 1, 2]) {
      await exporter.deliver?.(testDelivery(batches(), { attempt }), NEVER)
    }
    expect((await stored()).toSorted()).toEqual(['0000000000000001', '0000000000000002'])
  })
}
