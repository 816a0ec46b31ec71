import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pino from 'pino'
import type { Admitted, Entry, Head, Lookback } from '../../pipeline/admission.ts'
import type { Batch, BatchMeta } from '../../pipeline/batch/batch.ts'
import { ACCEPTED, type Outcome } from '../../pipeline/consumer.ts'
import type { Context } from '../../pipeline/factory.ts'
import { EmbeddedState } from '../../pipeline/state/embedded.ts'
import { createMeter } from '../../pipeline/telemetry/prom-meter.ts'
import { DeadLetters } from '../../pipeline/wal/dead-letter.ts'
import { jsonl } from '../../receivers/jsonl/factory.ts'
import { receiverContext } from '../contract/receiver.ts'

const jsonlMaker = await jsonl.load()

/** Remembers by digest and rows, as the WAL does; `before` may refuse, and rejects rows as a processor does. */
export class MemoryPipeline implements Entry {
  readonly names: string[] = []
  readonly metas: BatchMeta[] = []
  readonly batches: Batch[] = []
  readonly heads: Head[] = []
  readonly #digests = new Map<string, number>()
  before: (batch: Batch) => Outcome | undefined | Promise<Outcome | undefined> = () => undefined
  /** After the batch is stored: throws what the receiver shall see instead of OK. */
  after: (batch: Batch) => void = () => undefined
  admitFault: (() => Error | undefined) | undefined
  held = 0
  lookups = 0
  readonly lookback: Lookback | undefined = {
    position: async () => String(this.batches.length),
    stored: async (_tenant, digest) => {
      this.lookups++
      const rows = this.#digests.get(Buffer.from(digest).toString('hex'))
      return rows === undefined ? [] : [{ first: 0, end: rows, last: true }]
    },
  }

  async admit(head: Head): Promise<Admitted> {
    const refused = this.admitFault?.()
    if (refused !== undefined) throw refused
    this.heads.push(head)
    this.held++
    const { tenant = 'default', project = '' } = head.owner ?? {}
    const release = () => void this.held--
    return { tenant, project, principal: '', wantsDigest: false, verify: async () => {}, release }
  }

  async consume(batch: Batch): Promise<Outcome> {
    const outcome = (await this.before(batch)) ?? ACCEPTED
    const rejected = new Set(outcome.rejected.flatMap(({ rows }) => rows))
    const digest = Buffer.from(batch.meta.digest).toString('hex')
    const alive = Array.from({ length: batch.rows }, (_, row) => batch.isLive(row) && !rejected.has(row))
    const rows = alive.filter(Boolean).length
    if (this.#digests.get(digest) !== rows) {
      this.#digests.set(digest, rows)
      this.metas.push(batch.meta)
      this.batches.push(batch)
      for (let row = 0; row < batch.rows; row++) {
        if (alive[row] === true) this.names.push(batch.name(row))
      }
    }
    this.after(batch)
    return outcome
  }
}

export interface JsonlRig {
  /** Where logs are written. */
  readonly directory: string
  readonly pipeline: MemoryPipeline
  readonly state: EmbeddedState
  readonly log: string[]
  letters(): ReturnType<DeadLetters['list']>
  path(name: string): string
  /** A receiver of these options over the directory; one at a time. */
  start(options?: Record<string, unknown>): Promise<void>
  stop(): Promise<void>
  metrics(): Promise<string>
  close(): Promise<void>
}

export async function jsonlRig(): Promise<JsonlRig> {
  const root = await mkdtemp(join(tmpdir(), 'weir-jsonl-'))
  const directory = await mkdtemp(join(root, 'logs-'))
  const state = new EmbeddedState(join(root, 'state'))
  await state.open()
  const pipeline = new MemoryPipeline()
  const meter = createMeter()
  const log: string[] = []
  const logger = pino({ level: 'info' }, { write: (line: string) => void log.push(line) })
  const base = receiverContext('jsonl', { log: logger }).context
  const context: Context = { ...base, state, meter }
  let running: { stop?(deadline: AbortSignal): Promise<void> } | undefined
  const stop = async (): Promise<void> => {
    await running?.stop?.(AbortSignal.timeout(5000))
    running = undefined
  }
  return {
    directory,
    pipeline,
    state,
    log,
    letters: () =>
      new DeadLetters({ connector: 'receiver/jsonl', state, meter, clock: Date.now, maxBytes: 1e9 }).list(),
    path: (name) => join(directory, name),
    async start(options = {}) {
      const value = jsonl.config.parse({
        include: [join(directory, '**/*.jsonl*')],
        start_at: 'beginning',
        poll_interval: '10ms',
        rotate_wait: '100ms',
        force_flush_period: '50ms',
        mapping: { name: 'n' },
        retry_on_failure: { initial_interval: '5ms', max_interval: '20ms' },
        ...options,
      })
      const receiver = jsonlMaker.create(value, context, pipeline)
      running = receiver
      await receiver.start?.()
    },
    stop,
    metrics: () => meter.render(),
    async close() {
      await stop()
      await state.close()
      await rm(root, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 })
    },
  }
}

/** Lines `{"n":"<prefix><number>"}` with some weight. */
export function lines(prefix: string, from: number, to: number, weight = 40): string {
  let text = ''
  for (let n = from; n < to; n++)
    text += `${JSON.stringify({ n: `${prefix}${n}`, pad: 'x'.repeat(weight) })}\n`
  return text
}

export function names(prefix: string, from: number, to: number): string[] {
  return Array.from({ length: to - from }, (_, index) => `${prefix}${from + index}`)
}
