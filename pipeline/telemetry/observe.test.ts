import { InMemorySpanExporter } from '@opentelemetry/sdk-trace-base'
import { beforeEach, describe, expect, it } from 'vitest'
import { parsePrometheus } from '../../test/support/parse-prometheus.ts'
import type { Entry } from '../admission.ts'
import type { Batch, BatchMeta } from '../batch/batch.ts'
import { decodeJsonBatch } from '../batch/otlp-batch.ts'
import type { Exporter, Processor } from '../component.ts'
import { ACCEPTED } from '../consumer.ts'
import { reject, retry } from '../fault.ts'
import { observeExporter, observeProcessor, observeReceiver } from './observe.ts'
import { createMeter, type PromMeter } from './prom-meter.ts'
import type { Tracing } from './traced.ts'
import { INSTANCE_ID, tracingOver } from './tracing.ts'

const OURS = 'instance-of-this-process'
const never = new AbortController().signal
let meter: PromMeter
beforeEach(() => {
  meter = createMeter()
})

function batchOf(spans: number, instance = 'somebody-else', receivedAtMs = 0): Batch {
  const meta: BatchMeta = {
    signal: 'traces',
    tenant: 'default',
    project: '',
    principal: '',
    source: 'otlp/a/grpc',
    receivedAtMs,
    digest: new Uint8Array(16),
  }
  const attributes = [{ key: INSTANCE_ID, value: { stringValue: instance } }]
  const list = Array.from({ length: spans }, (_, i) => ({
    name: `s${i}`,
    traceId: '4bf92f3577b34da6a3ce929d0e0e4736',
    spanId: '00f067aa0ba902b7',
  }))
  const json = { resourceSpans: [{ resource: { attributes }, scopeSpans: [{ spans: list }] }] }
  return decodeJsonBatch(Buffer.from(JSON.stringify(json)), meta)
}

function entryOf(consume: Entry['consume']): Entry {
  return { admit: () => Promise.reject(reject('UNAUTHENTICATED', 'no')), consume }
}

async function counted(): Promise<Record<string, number>> {
  const page = parsePrometheus(await meter.render())
  return Object.fromEntries([...page].filter(([key]) => !/_bucket|_sum/.test(key)))
}

describe('observeReceiver', () => {
  const labels = 'receiver="otlp/a",transport="grpc"'

  it('counts accepted and, of a partial success, refused spans', async () => {
    const next = observeReceiver(
      entryOf(() => Promise.resolve({ rejected: [{ rows: [0, 2], reason: 'r' }] })),
      'otlp/a',
      meter,
    )
    await next.consume(batchOf(5), never)
    expect(await counted()).toEqual({
      [`otelcol_receiver_accepted_spans{${labels}}`]: 3,
      [`otelcol_receiver_refused_spans{${labels}}`]: 2,
      [`otelcol_receiver_requests{${labels},outcome="success"}`]: 1,
    })
  })

  it('counts what a Fault refused apart from what a bug lost, and hands both on', async () => {
    const fault = retry('WAL_FULL', 'full')
    await expect(
      observeReceiver(
        entryOf(() => Promise.reject(fault)),
        'otlp/a',
        meter,
      ).consume(batchOf(4), never),
    ).rejects.toBe(fault)
    const bug = new TypeError('bug')
    await expect(
      observeReceiver(
        entryOf(() => Promise.reject(bug)),
        'otlp/a',
        meter,
      ).consume(batchOf(1), never),
    ).rejects.toBe(bug)
    expect(await counted()).toEqual({
      [`otelcol_receiver_refused_spans{${labels}}`]: 4,
      [`otelcol_receiver_failed_spans{${labels}}`]: 1,
      [`otelcol_receiver_requests{${labels},outcome="refused"}`]: 1,
      [`otelcol_receiver_requests{${labels},outcome="failure"}`]: 1,
    })
  })

  it('counts a request refused before its body', async () => {
    const entry = observeReceiver(
      entryOf(() => Promise.resolve(ACCEPTED)),
      'otlp/a',
      meter,
    )
    const head = { transport: 'grpc', peer: '', method: '', path: '', header: () => [], tls: false } as const
    await expect(entry.admit(head)).rejects.toMatchObject({ code: 'UNAUTHENTICATED' })
    expect(await counted()).toEqual({ [`otelcol_receiver_requests{${labels},outcome="refused"}`]: 1 })
  })
})

describe('observeProcessor', () => {
  it('counts items in and out, and what was dropped by reason, only its own', async () => {
    const processor: Processor = {
      process(batch) {
        batch.drop(1, 'sampled')
        batch.drop(2, 'sampled')
        return { rejected: [{ rows: [3], reason: 'p: bad' }] }
      },
    }
    const batch = batchOf(6)
    batch.drop(0, 'invalid')
    const outcome = await observeProcessor(processor, 'p', meter).process(batch)
    expect(outcome).toEqual({ rejected: [{ rows: [3], reason: 'p: bad' }] })
    const labels = 'processor="p",otel_signal="traces"'
    expect(await counted()).toEqual({
      [`otelcol_processor_incoming_items{${labels}}`]: 5,
      [`otelcol_processor_outgoing_items{${labels}}`]: 2,
      [`otelcol_processor_internal_duration_count{${labels}}`]: 1,
      'weir_dropped_spans{reason="sampled",component="p"}': 2,
      'weir_dropped_spans{reason="rejected",component="p"}': 1,
    })
  })

  it('has admit, start, stop and probe only when the component has', () => {
    class Full implements Processor {
      readonly #name = 'full'
      process() {}
      admit() {
        return { principal: this.#name }
      }
      start() {
        return Promise.resolve()
      }
    }
    expect(Object.keys(observeProcessor({ process() {} }, 'p', meter))).toEqual(['process'])
    const full = observeProcessor(new Full(), 'p', meter)
    expect(full.admit?.({} as never, {} as never)).toEqual({ principal: 'full' })
    expect(Object.keys(full)).toEqual(['start', 'admit', 'process'])
  })
})

describe('observeExporter', () => {
  const exporting = (consume: Exporter['consume']) => ({ consume })
  const delivery = (batches: Batch[]) => ({
    cursor: 'p/e',
    range: { from: 1, to: 1, token: 't', attempt: 0 },
    batches,
    spans: batches.reduce((sum, { live }) => sum + live, 0),
  })

  it('counts sent, failed and expired spans of a delivery, and the age of what is stored', async () => {
    const exporter: Exporter = {
      ...exporting(() => Promise.reject(new Error('not used'))),
      deliver({ batches }) {
        batches[0]?.drop(0, 'expired')
        return Promise.resolve({ rejected: [{ batch: 1, rejection: { rows: [0], reason: 'r' } }] })
      },
    }
    const observed = observeExporter(exporter, 'e', meter, { clock: () => 4000 })
    await observed.deliver?.(delivery([batchOf(3, 'x', 1000), batchOf(2, 'x', 3000)]), never)
    expect(await counted()).toEqual({
      'otelcol_exporter_sent_spans{exporter="e"}': 3,
      'otelcol_exporter_send_failed_spans{exporter="e"}': 1,
      'otelcol_exporter_in_flight_requests{exporter="e"}': 0,
      'otelcol_exporter_queue_batch_send_size_count{exporter="e"}': 1,
      'weir_dropped_spans{reason="expired",component="e"}': 1,
      'weir_end_to_end_seconds_count{exporter="e"}': 2,
    })
    expect(await meter.render()).toContain('weir_end_to_end_seconds_sum{exporter="e"} 4\n')
  })

  it('passes on all that the reader of the log asks of an exporter', () => {
    const asked = {
      batching: { maxSpans: 1, maxBytes: 2, maxWaitMs: 3 },
      recheck: { afterMs: 4, holds: async () => true },
      keepsNothing: true,
    } as const
    const exporter: Exporter = { ...exporting(async () => ACCEPTED), ...asked, stage: () => undefined }
    const observed = observeExporter(exporter, 'e', meter)
    expect(observed).toMatchObject(asked)
    expect('stage' in observed).toBe(true)
  })

  it('counts a rejection as lost only when nobody bisects it, and a retry as a retry', async () => {
    const rejecting = exporting(() => Promise.reject(reject('EXPORT_REJECTED', 'never')))
    const failing = (exporter: Exporter, spans: number) =>
      expect(exporter.consume(batchOf(spans), never)).rejects.toMatchObject({ name: 'Fault' })
    await failing(observeExporter(rejecting, 'wal', meter), 5)
    await failing(observeExporter(rejecting, 'wal', meter), 1)
    await failing(observeExporter(rejecting, 'direct', meter, { bisected: false }), 5)
    await failing(
      observeExporter(
        exporting(() => Promise.reject(retry('EXPORT_UNAVAILABLE', 'down'))),
        'wal',
        meter,
      ),
      5,
    )
    expect(await counted()).toMatchObject({
      'otelcol_exporter_send_failed_spans{exporter="wal"}': 1,
      'otelcol_exporter_send_failed_spans{exporter="direct"}': 5,
      'weir_export_retries{exporter="wal",code="EXPORT_UNAVAILABLE"}': 1,
    })
  })
})

describe("weir's own traces", () => {
  let memory: InMemorySpanExporter
  let tracing: Tracing
  beforeEach(() => {
    memory = new InMemorySpanExporter()
    tracing = tracingOver(memory, { 'service.name': 'weir', [INSTANCE_ID]: OURS })
  })
  const finished = async () => {
    await tracing.flush()
    return memory
      .getFinishedSpans()
      .map(({ name, status, attributes }) => ({ name, status: status.code, ...attributes }))
  }

  it('makes a span per request and per delivery, with its failure', async () => {
    await observeReceiver(
      entryOf(() => Promise.resolve(ACCEPTED)),
      'otlp/a',
      meter,
      { tracing },
    ).consume(batchOf(3), never)
    const failing = observeExporter(
      { consume: () => Promise.reject(retry('EXPORT_UNAVAILABLE', 'down')) },
      'e',
      meter,
      { tracing },
    )
    await expect(failing.consume(batchOf(2), never)).rejects.toThrow('down')
    expect(await finished()).toEqual([
      { name: 'receiver/otlp/a', status: 0, 'weir.batches': 1, 'weir.spans': 3 },
      {
        name: 'exporter/e',
        status: 2,
        'weir.batches': 1,
        'weir.spans': 2,
        'error.type': 'EXPORT_UNAVAILABLE',
      },
    ])
  })

  it('never makes spans of its own spans: what it sent comes to rest', async () => {
    const seen: number[] = []
    const entry = observeReceiver(
      entryOf((batch) => {
        seen.push(batch.live)
        return Promise.resolve(ACCEPTED)
      }),
      'otlp/a',
      meter,
      { tracing },
    )
    await entry.consume(batchOf(2, OURS), never)
    expect(seen).toEqual([2])
    expect(await finished()).toEqual([])
    // Those of another weir are traffic like any other.
    await entry.consume(batchOf(2, 'another-weir'), never)
    expect(await finished()).toHaveLength(1)
  })
})
