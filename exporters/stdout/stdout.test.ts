import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { Writable } from 'node:stream'
import { afterEach, describe, expect, it } from 'vitest'
import { COSTS, TOKENS, type SpanFacts } from '../../pipeline/batch/facts.ts'
import type { Batch, BatchMeta } from '../../pipeline/batch/batch.ts'
import { decodeJsonBatch } from '../../pipeline/batch/otlp-batch.ts'
import { config } from './config.ts'
import { FileSink } from './file-sink.ts'
import { StdoutExporter, type Sink } from './stdout.ts'

const META: BatchMeta = {
  signal: 'traces',
  tenant: 'acme',
  project: '',
  principal: '',
  source: 'otlp/grpc',
  receivedAtMs: Date.UTC(2026, 0, 2),
  digest: new Uint8Array(16),
}
// oxlint-disable-next-line no-control-regex -- that none is printed is the promise
const CONTROL = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/

function span(name: string, statusCode = 0, more: Record<string, unknown> = {}) {
  return {
    traceId: '4bf92f3577b34da6a3ce929d0e0e4736',
    spanId: '00f067aa0ba902b7',
    name,
    startTimeUnixNano: '1000000000',
    endTimeUnixNano: '1002500000',
    status: { code: statusCode, message: statusCode === 2 ? 'went\nwrong' : '' },
    ...more,
  }
}

function batchOf(spans: readonly unknown[]): Batch {
  const json = {
    resourceSpans: [
      {
        resource: { attributes: [attribute('service.name', 'svc')] },
        scopeSpans: [{ scope: { name: 'lib' }, spans }],
      },
    ],
  }
  return decodeJsonBatch(Buffer.from(JSON.stringify(json)), META)
}

function attribute(key: string, stringValue: string) {
  return { key, value: { stringValue } }
}

class Memory extends Writable {
  text = ''
  isTTY = false
  override _write(chunk: Buffer, _: string, done: () => void): void {
    this.text += chunk.toString()
    done()
  }
}

const never = new AbortController().signal
const running: StdoutExporter[] = []
afterEach(async () => {
  for (const each of running.splice(0)) await each.stop(AbortSignal.timeout(10))
})

async function exporterOn(
  sink: Sink,
  options: Record<string, unknown> = {},
  colour = false,
): Promise<StdoutExporter> {
  const exporter = new StdoutExporter(config.parse(options), sink, colour)
  running.push(exporter)
  await exporter.start()
  return exporter
}

async function printed(batch: Batch, options: Record<string, unknown>, colour = false): Promise<string> {
  const sink = new Memory()
  const exporter = await exporterOn(sink, options, colour)
  expect(await exporter.consume(batch, never)).toEqual({ rejected: [] })
  return sink.text
}

describe('stdout', () => {
  it('basic: a line per batch, of live spans', async () => {
    const batch = batchOf([span('a'), span('b')])
    batch.drop(0, 'sampled')
    expect(await printed(batch, {})).toBe(
      '2026-01-02T00:00:00.000Z  traces  spans=1 tenant=acme source=otlp/grpc\n',
    )
  })

  it('normal: a line per live span, with what it means', async () => {
    const batch = batchOf([span('left out'), span('chat gpt-4o', 2), span('chat mystery')])
    batch.drop(0, 'sampled')
    batch.facts = factsFor(3)
    const lines = (await printed(batch, { verbosity: 'normal' })).trimEnd().split('\n')
    expect(lines.slice(1)).toEqual([
      '  chat gpt-4o  trace=4bf92f3577b34da6a3ce929d0e0e4736  span=00f067aa0ba902b7  2.500ms  error  model=gpt-4o  InputTokens=10  OutputTokens=3  $0.000125  "went\\\\nwrong"',
      '  chat mystery  trace=4bf92f3577b34da6a3ce929d0e0e4736  span=00f067aa0ba902b7  2.500ms  unset  model=mystery  unpriced (unknown_model)',
    ])
  })

  it('detailed: attributes, events and links', async () => {
    const text = await printed(
      batchOf([
        span('x', 0, {
          attributes: [attribute('a.b', 'one\ntwo')],
          events: [{ name: 'e1', timeUnixNano: '1000000001', attributes: [attribute('k', 'v')] }],
          links: [{ traceId: '0af7651916cd43dd8448eb211c80319c', spanId: 'b7ad6b7169203331' }],
        }),
      ]),
      { verbosity: 'detailed' },
    )
    expect(text).toContain('    resource  service.name = svc\n')
    expect(text).toContain('    a.b = one\\ntwo\n')
    expect(text).toContain('    event     e1 at=1000000001\n      k = v\n')
    expect(text).toContain('    link      trace=0af7651916cd43dd8448eb211c80319c span=b7ad6b7169203331\n')
  })

  it.each(['normal', 'detailed'])('lets no data reach the terminal (%s)', async (verbosity) => {
    const evil = 'x\u001b[2J\r\n\u009b31m\u202e'
    const batch = batchOf([span(evil, 2, { attributes: [attribute(evil, evil)], events: [{ name: evil }] })])
    expect(await printed(batch, { verbosity })).not.toMatch(CONTROL)
  })

  it('colours by status on a terminal only', async () => {
    const batch = () => batchOf([span('bad', 2), span('good', 1), span('plain')])
    const [, bad, good, plain] = (await printed(batch(), { verbosity: 'normal' }, true)).split('\n')
    expect([
      bad?.startsWith('\u001b[31m'),
      good?.startsWith('\u001b[32m'),
      plain?.includes('\u001b'),
    ]).toEqual([true, true, false])
    expect(await printed(batch(), { verbosity: 'normal' })).not.toContain('\u001b')
  })

  it('json: one line of OTLP/JSON per batch, which reads back as the same spans', async () => {
    const text = await printed(batchOf([span('a\u2028\u009b', 1), span('b')]), { format: 'json' })
    expect(text.split('\n')).toHaveLength(2)
    expect(text).not.toMatch(CONTROL)
    const again = decodeJsonBatch(Buffer.from(text), META)
    expect([again.rows, again.name(0), again.name(1), again.statusCode(0)]).toEqual([
      2,
      'a\u2028\u009b',
      'b',
      1,
    ])
  })

  it('resolves only when the reader has taken it, and never mixes batches', async () => {
    const waiting: (() => void)[] = []
    const chunks: string[] = []
    const slow = new Writable({
      write(chunk: Buffer, _, done) {
        chunks.push(chunk.toString())
        waiting.push(() => done())
      },
    })
    const exporter = await exporterOn(slow, { verbosity: 'normal' })
    const big = batchOf(Array.from({ length: 6000 }, (_, i) => span(`big${i}`)))
    let first = false
    const done = exporter.consume(big, never).then(() => (first = true))
    const second = exporter.consume(batchOf([span('small')]), never)
    const progress = { settled: false }
    void Promise.all([done, second]).then(() => (progress.settled = true))
    while (!progress.settled) {
      await new Promise((resolve) => {
        setImmediate(resolve)
      })
      if (chunks.length === 1) expect(first).toBe(false)
      waiting.shift()?.()
    }
    expect(chunks.length).toBeGreaterThan(2)
    expect(chunks.join('').indexOf('small')).toBeGreaterThan(chunks.join('').indexOf('big5999'))
  })

  it('gives up at the deadline, retryably, when nobody reads', async () => {
    const stuck = new Writable({ write: () => undefined })
    const exporter = await exporterOn(stuck)
    await expect(exporter.consume(batchOf([span('a')]), AbortSignal.timeout(5))).rejects.toMatchObject({
      code: 'EXPORT_UNAVAILABLE',
      verdict: { do: 'retry' },
    })
  })

  it('says retryably that the reader of a real pipe is gone, and does not end the process', async () => {
    const reader = spawn('cat', { stdio: ['pipe', 'ignore', 'ignore'] })
    const exporter = await exporterOn(reader.stdin)
    await exporter.consume(batchOf([span('a')]), never)
    await exporter.probe()
    reader.kill('SIGKILL')
    await once(reader, 'exit')
    const batch = batchOf(Array.from({ length: 2000 }, () => span('b')))
    const verdict = { code: 'EXPORT_UNAVAILABLE', verdict: { do: 'retry' } }
    await expect(exporter.consume(batch, never)).rejects.toMatchObject(verdict)
    await expect(exporter.probe()).rejects.toMatchObject(verdict)
  })

  it('says retryably that the disk is full, and goes on when it is not', async () => {
    let room = 10
    let file = ''
    const sink = new FileSink(1, (_fd, bytes, done) => {
      if (room === 0) return done(Object.assign(new Error('ENOSPC: no space left'), { code: 'ENOSPC' }), 0)
      const taken = bytes.subarray(0, room)
      file += taken.toString()
      room -= taken.length
      done(null, taken.length)
    })
    const exporter = await exporterOn(sink)
    const batch = batchOf([span('a')])
    const full = { code: 'EXPORT_UNAVAILABLE', verdict: { do: 'retry' } }
    await expect(exporter.consume(batch, never)).rejects.toMatchObject(full)
    await expect(exporter.consume(batch, never)).rejects.toMatchObject(full)
    room = 10_000
    await exporter.consume(batch, never)
    await exporter.consume(batch, never)
    const line = '2026-01-02T00:00:00.000Z  traces  spans=1 tenant=acme source=otlp/grpc\n'
    expect(file).toBe(`2026-01-02\n${line}${line}`)
  })

  it('stops before it started', async () => {
    await new StdoutExporter(config.parse({}), new Memory(), false).stop(AbortSignal.timeout(10))
  })
})

/** Row 1 a priced call, row 2 an unpriced one. */
function factsFor(rows: number): SpanFacts {
  const text = (): string[] => Array.from({ length: rows }, () => '')
  const facts = {
    rows,
    ...Object.fromEntries(
      [
        'runId',
        'sessionId',
        'userId',
        'agentName',
        'toolName',
        'operation',
        'provider',
        'serviceTier',
        'finishReason',
        'usageSemantics',
        'priceVersion',
      ].map((name) => [name, text()]),
    ),
    requestModel: text(),
    responseModel: ['', '', 'mystery'],
    priceModel: ['', 'gpt-4o', ''],
    leaf: new Uint8Array([0, 1, 1]),
    tokens: new Uint32Array(rows * TOKENS.length),
    cost: new BigInt64Array(rows * COSTS.length),
    costStatus: new Uint8Array([0, 1, 3]),
    costReason: ['', '', 'unknown_model'],
  } as unknown as SpanFacts
  facts.tokens[TOKENS.length + TOKENS.indexOf('InputTokens')] = 10
  facts.tokens[TOKENS.length + TOKENS.indexOf('OutputTokens')] = 3
  facts.cost[COSTS.length] = 125_000_000n
  return facts
}
