import { createHash } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pino from 'pino'
import { onTestFinished } from 'vitest'
import type { Batch } from '../../pipeline/batch/batch.ts'
import { decodeBatch } from '../../pipeline/batch/otlp-batch.ts'
import type { Context } from '../../pipeline/factory.ts'
import type { FollowedBatch, FollowerTerm } from '../../pipeline/follower.ts'
import { NOBODY_KNOWN } from '../../pipeline/identity/view.ts'
import { ByteGate } from '../../pipeline/intake.ts'
import { Pressure } from '../../pipeline/pressure.ts'
import { EmbeddedState } from '../../pipeline/state/embedded.ts'
import { createMeter } from '../../pipeline/telemetry/prom-meter.ts'
import { NO_USAGE } from '../../pipeline/usage/usage.ts'
import { cursorKey, decodeCursor, encodeCursor, newCursor } from '../../pipeline/wal/cursor-record.ts'
import { config } from '../../processors/sampling/config.ts'
import { SamplingProcessor } from '../../processors/sampling/sampling.ts'
import { writeRequest, type Attributes } from '../../proto/otlp/write.ts'
import { testMeta } from './batch-meta.ts'

export interface TestSpan {
  readonly trace: number | string
  readonly name?: string
  readonly ms?: number
  readonly startMs?: number
  readonly failed?: boolean
  readonly attributes?: Attributes
  readonly tenant?: string
}

/** A message of the log: its time and its spans. */
export interface TestMessage {
  readonly seq: number
  readonly atMs: number
  readonly spans: readonly TestSpan[]
}

export function traceIdOf(trace: number | string): Buffer {
  return createHash('sha256').update(`trace ${trace}`).digest().subarray(0, 16)
}

let spans = 0

/** The spans of a message that are of one tenant. */
export function batchOf({ seq, spans: list }: TestMessage): Batch {
  const bytes = writeRequest([
    {
      resource: [['service.name', 'agent']],
      scope: { name: 's', version: '' },
      spans: list.map(({ trace, name = 'step', ms = 10, startMs = 1000, failed, attributes = [] }) => ({
        traceId: traceIdOf(trace),
        spanId: createHash('sha256').update(`span ${spans++}`).digest().subarray(0, 8),
        name,
        kind: 1,
        startNs: BigInt(startMs) * 1_000_000n,
        endNs: BigInt(startMs + ms) * 1_000_000n,
        attributes,
        statusCode: failed === true ? 2 : 0,
      })),
    },
  ])
  return decodeBatch(bytes, testMeta({ tenant: list[0]?.tenant ?? 'default', wal: { seq, row: 0 } }))
}

const CURSOR = 'traces/store/sampling@ahead'

/** A scout and a cursor's sampler over one state store, driven by hand. */
export class SamplingRig {
  readonly state: EmbeddedState
  readonly meter = createMeter()
  readonly #settings: object

  private constructor(state: EmbeddedState, settings: object) {
    this.state = state
    this.#settings = settings
  }

  static async open(settings: object): Promise<SamplingRig> {
    const directory = await mkdtemp(join(tmpdir(), 'weir-sampling-'))
    const state = new EmbeddedState(directory)
    await state.open()
    onTestFinished(async () => {
      await state.close()
      await rm(directory, { recursive: true, force: true })
    })
    const record = { ...newCursor(CURSOR, 1, 0), epoch: '00112233aabbccdd' }
    await state.create(cursorKey('wal', CURSOR), encodeCursor(record))
    return new SamplingRig(state, settings)
  }

  #processor(): SamplingProcessor {
    const context: Context = {
      id: 'sampling',
      kind: 'processor',
      log: pino({ level: 'silent' }),
      meter: this.meter,
      clock: Date.now,
      state: this.state,
      identity: NOBODY_KNOWN,
      listeners: { listen: () => Promise.reject(new Error('nothing listens here')) },
      intake: new ByteGate(1e9),
      pressure: new Pressure(),
      usage: NO_USAGE,
      behind: { connector: 'wal', pipeline: 'traces/store' },
    }
    return new SamplingProcessor(config.parse(this.#settings), context)
  }

  /** A new term of the scout, as after a crash, and where it begins. */
  async scout({ diesOnSave = false } = {}): Promise<{
    readonly from: number
    read(message: TestMessage, tenantBatches?: readonly Batch[]): Promise<void>
    quiet(to: number, walMs: number): Promise<void>
  }> {
    const worker = this.#processor().ahead
    if (worker === undefined) throw new Error('the config has no tail sampling')
    const key = cursorKey('wal', CURSOR)
    let entry = await this.state.get(key)
    const record = () => decodeCursor(key, entry!.value)
    const term: FollowerTerm = {
      record,
      save: async (change) => {
        if (diesOnSave && change.data !== undefined) throw new Error('dead')
        const value = encodeCursor({ ...record(), ...change })
        const revision = await this.state.update(key, value, entry!.revision)
        if (revision === undefined) throw new Error('another scout saved')
        entry = { key, value, revision }
      },
      state: this.state,
      passed: () => Promise.resolve(record().position),
      signal: new AbortController().signal,
    }
    await worker.begin(term)
    return {
      from: record().position,
      read: (message, batches = [batchOf(message)]) =>
        worker.take(
          batches.map((batch): FollowedBatch => ({ batch, seq: message.seq, walMs: message.atMs })),
          message.seq,
          message.atMs,
        ),
      quiet: (to, walMs) => worker.quiet(to, walMs),
    }
  }

  /** Decisions that count. */
  async decided(): Promise<number> {
    const key = cursorKey('wal', CURSOR)
    const record = decodeCursor(key, (await this.state.get(key))!.value)
    return (record.data as { readonly count: number }).count
  }

  /** A cursor's sampler; it stops with the test. */
  async cursor(): Promise<SamplingProcessor> {
    const processor = this.#processor()
    await processor.start()
    onTestFinished(() => processor.stop())
    return processor
  }

  /** The traces, by number, of which a cursor keeps spans of these messages; with the weight of the first span. */
  async kept(messages: readonly TestMessage[]): Promise<Map<number | string, number>> {
    const cursor = await this.cursor()
    const kept = new Map<number | string, number>()
    for (const message of messages) {
      const batch = batchOf(message)
      await cursor.process(batch)
      for (const [row, { trace }] of message.spans.entries()) {
        if (batch.isLive(row) && !kept.has(trace)) kept.set(trace, rateOf(batch, row))
      }
    }
    return kept
  }
}

function rateOf(batch: Batch, row: number): number {
  const again = decodeBatch(batch.encode(), batch.meta)
  const live = Array.from({ length: row }, (_, one) => batch.isLive(one)).filter(Boolean).length
  const th = /th:([0-9a-f]+)/.exec(again.traceState(live))?.[1]
  if (batch.facts !== undefined) return batch.facts.sampleRate[row] ?? 1
  return th === undefined ? 1 : 1 / (1 - Number.parseInt(th.padEnd(13, '0'), 16) / 2 ** 52)
}
