import { describe, expect, it } from 'vitest'
import { METRICS } from './names.ts'
import { sampleProcess } from './process.ts'
import { createMeter, mergeSnapshots } from './prom-meter.ts'
import { parsePrometheus } from '../../test/support/parse-prometheus.ts'

describe('meter', () => {
  it('refuses a name that is not in the catalogue, and the wrong type', () => {
    const meter = createMeter()
    expect(() => meter.counter('weir_made_up')).toThrow(/names\.ts/)
    expect(() => meter.counter('constructor')).toThrow(/names\.ts/)
    expect(() => meter.gauge('otelcol_exporter_sent_spans')).toThrow(/is a counter/)
  })

  it('gives the same metric to all who ask, and renders it under its exact name', async () => {
    const meter = createMeter()
    meter.counter('otelcol_receiver_accepted_spans').add(2, { receiver: 'otlp', transport: 'grpc' })
    meter.counter('otelcol_receiver_accepted_spans').add(3, { receiver: 'otlp', transport: 'grpc' })
    const page = parsePrometheus(await meter.render())
    expect(page.get('otelcol_receiver_accepted_spans{receiver="otlp",transport="grpc"}')).toBe(5)
    expect([...page.keys()].some((series) => series.includes('_total'))).toBe(false)
  })

  it('adds up what is counted under several label sets in turn, each time it is read', async () => {
    const meter = createMeter()
    const counter = meter.counter('otelcol_receiver_accepted_spans')
    const [a, b] = ['grpc', 'http'].map((transport) => ({ receiver: 'otlp', transport }))
    const read = async () => {
      const page = parsePrometheus(await meter.render())
      return ['grpc', 'http'].map((t) =>
        page.get(`otelcol_receiver_accepted_spans{receiver="otlp",transport="${t}"}`),
      )
    }
    counter.add(0, a)
    expect(await read()).toEqual([0, undefined])
    for (const [value, labels] of [
      [2, a],
      [3, a],
      [1, b],
      [0.5, b],
      [4, a],
    ] as const)
      counter.add(value, labels)
    meter.counter('otelcol_receiver_accepted_spans').add(10, a)
    expect(await read()).toEqual([19, 1.5])
    expect(await read()).toEqual([19, 1.5])
    counter.add(1, a)
    expect(() => counter.add(-1, a)).toThrow(/decrease/)
    expect(await read()).toEqual([20, 1.5])
  })

  it('keeps label values from breaking the page', async () => {
    const meter = createMeter()
    meter.counter('weir_cost_usd').add(1, { provider: 'a"b\\c\nweir_fake 1', model: 'm' })
    const lines = (await meter.render()).split('\n')
    expect(lines.filter((line) => line.startsWith('weir_fake'))).toEqual([])
    expect(lines).toContain('weir_cost_usd{provider="a\\"b\\\\c\\nweir_fake 1",model="m"} 1')
  })

  it('merges two processes: counters and histograms add up, gauges show the larger, labels keep apart', async () => {
    const main = createMeter()
    const store = createMeter()
    main.counter('weir_dropped_spans').add(1, { reason: 'invalid', component: 'x' })
    store.counter('weir_dropped_spans').add(2, { reason: 'invalid', component: 'x' })
    main.gauge('weir_wal_bytes').set(10, { connector: 'wal' })
    store.gauge('weir_wal_bytes').set(12, { connector: 'wal' })
    main.histogram('weir_end_to_end_seconds').observe(0.01, { exporter: 'a' })
    store.histogram('weir_end_to_end_seconds').observe(0.3, { exporter: 'a' })
    sampleProcess(main, 'intake')
    sampleProcess(store, 'store')
    // Over the IPC channel they travel as JSON.
    const crossed = JSON.parse(JSON.stringify(await store.snapshot())) as Awaited<
      ReturnType<typeof store.snapshot>
    >
    const page = parsePrometheus(await mergeSnapshots([await main.snapshot(), crossed]))
    expect(page.get('weir_dropped_spans{reason="invalid",component="x"}')).toBe(3)
    expect(page.get('weir_wal_bytes{connector="wal"}')).toBe(12)
    expect(page.get('weir_end_to_end_seconds_count{exporter="a"}')).toBe(2)
    expect(page.get('weir_end_to_end_seconds_bucket{le="0.05",exporter="a"}')).toBe(1)
    expect(page.get('weir_end_to_end_seconds_bucket{le="+Inf",exporter="a"}')).toBe(2)
    expect(page.get('otelcol_process_memory_rss')).toBeGreaterThan(0)
    expect(page.get('otelcol_process_memory_rss{process="store"}')).toBeGreaterThan(0)
  })

  it('has a help text, a unit and well-formed names for every metric', () => {
    for (const [name, info] of Object.entries(METRICS)) {
      expect(name).toMatch(/^(otelcol|weir)_[a-z][a-z0-9_]*$/)
      expect(name).not.toMatch(/_total$/)
      expect(info.help).toMatch(/\.$/)
      expect(info.unit).not.toBe('')
      expect(info.type === 'histogram').toBe('buckets' in info)
    }
  })
})
