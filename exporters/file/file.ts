import { access } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import type { Archive } from '../../pipeline/archive/archive.ts'
import { FileArchive, type ArchiveFile } from '../../pipeline/archive/files.ts'
import type { Batch } from '../../pipeline/batch/batch.ts'
import type { Batching, Delivery, DeliveryOutcome, Exporter } from '../../pipeline/component.ts'
import { ACCEPTED, type Outcome } from '../../pipeline/consumer.ts'
import type { Context } from '../../pipeline/factory.ts'
import { faultOf, messageOf, reject, retry } from '../../pipeline/fault.ts'
import { compress } from '../../pipeline/net/compress.ts'
import { within } from '../../pipeline/net/within.ts'
import { backupsOf } from './backups.ts'
import { readCheckpoint } from './checkpoint.ts'
import type { Retainable } from '../../pipeline/retention.ts'
import type { Config } from './config.ts'
import { checkPlace, LogFile } from './log-file.ts'
import { FileRetention } from './retention.ts'

const MIB = 1024 * 1024
const PRUNE_EVERY_MS = 3_600_000
/** By path, for all exporters of the process: one delivery at a time; also where one that was given up is waited for. */
const TURNS = new Map<string, Promise<unknown>>()

/** Writes batches to a file that rotates. A range that was delivered is not written again, whatever was killed when. */
export class FileExporter implements Exporter {
  readonly batching: Batching
  readonly archive: Archive
  readonly retainable: Retainable
  readonly #config: Config
  readonly #context: Context
  readonly #file: LogFile
  /** Of TURNS. */
  readonly #path: string
  #started = false
  #pruning: NodeJS.Timeout | undefined

  constructor(config: Config, context: Context) {
    this.#config = config
    this.#context = context
    this.#path = resolve(config.path)
    this.retainable = new FileRetention({
      store: context.id,
      path: config.path,
      local: config.rotation?.localtime ?? false,
      inTurn: (work) => this.#next(work),
      unavailable: (error) => this.#unavailable(error),
    })
    this.batching = { maxSpans: 8192, maxBytes: 8 * MIB, maxWaitMs: config.flush_interval }
    this.archive = new FileArchive(() => archivedFiles(config.path))
    const { rotation } = config
    this.#file = new LogFile({
      path: config.path,
      createDirectory: config.create_directory,
      sync: config.durability === 'strict',
      lines: config.format === 'json' && config.compression === 'none',
      clock: context.clock,
      log: context.log,
      onRotated: () => context.meter.counter('weir_file_rotations').add(1, { exporter: context.id }),
      rotation: rotation && {
        maxBytes: rotation.max_megabytes * MIB,
        daily: rotation.daily,
        maxDays: rotation.max_days,
        maxBackups: rotation.max_backups,
        local: rotation.localtime,
      },
    })
  }

  async start(): Promise<void> {
    if (this.#started) return
    try {
      await this.#next(() => this.#file.open())
    } catch (error) {
      throw (
        faultOf(error) ??
        reject('START_FAILED', `${this.#context.id}: path: ${messageOf(error)}`, { cause: error })
      )
    }
    this.#started = true
    this.#pruning = setInterval(() => {
      void this.#next(() => this.#file.prune())
    }, PRUNE_EVERY_MS).unref()
  }

  async stop(deadline: AbortSignal): Promise<void> {
    this.#started = false
    clearInterval(this.#pruning)
    await within(deadline, undefined, TURNS.get(this.#path) ?? Promise.resolve())
    await within(deadline, undefined, this.#file.close())
  }

  async probe(): Promise<void> {
    try {
      await checkPlace(this.#config.path)
    } catch (error) {
      throw this.#unavailable(error)
    }
  }

  /** A pipeline without a WAL: written when it resolves; what a sender repeats is written again. */
  async consume(batch: Batch, signal: AbortSignal): Promise<Outcome> {
    await this.#inTurn(signal, async () => this.#file.append(await this.#encode([batch])))
    return ACCEPTED
  }

  /** Who asks for another replay of the same wants it here once more: what was written before may be gone. */
  async deliver(
    { cursor, range, batches, replay: token = range.token }: Delivery,
    signal: AbortSignal,
  ): Promise<DeliveryOutcome> {
    await this.#inTurn(signal, async () => {
      if (await this.#file.has(cursor, token)) return
      await this.#file.append(await this.#encode(batches), { cursor, token })
    })
    return { rejected: [] }
  }

  async #inTurn(signal: AbortSignal, work: () => Promise<void>): Promise<void> {
    const { id, meter } = this.#context
    try {
      await this.#next(async () => {
        if (!this.#started) throw retry('EXPORT_UNAVAILABLE', `${id}: not started`)
        if (signal.aborted) throw retry('EXPORT_UNAVAILABLE', `${id}: the disk did not answer in time`)
        await work()
        meter.gauge('weir_file_bytes').set(this.#file.length, { exporter: id })
      })
    } catch (error) {
      throw this.#unavailable(error)
    }
  }

  /** Does `work` when all that came before it for this path has ended. */
  #next(work: () => Promise<void>): Promise<void> {
    const turn = (TURNS.get(this.#path) ?? Promise.resolve()).then(work)
    TURNS.set(
      this.#path,
      turn.catch(() => undefined),
    )
    return turn
  }

  async #encode(batches: readonly Batch[]): Promise<Uint8Array> {
    const { format, compression } = this.#config
    const live = batches.filter((batch) => batch.live > 0)
    const plain = Buffer.concat(format === 'json' ? live.map(jsonLine) : live.flatMap(prefixed))
    return plain.length === 0 ? plain : await compress(plain, compression)
  }

  #unavailable(error: unknown): Error {
    const why = (error as NodeJS.ErrnoException).code === 'ENOSPC' ? 'the disk is full' : messageOf(error)
    const text = `${this.#context.id}: ${this.#config.path} cannot be written: ${why}`
    const fault = faultOf(error)
    // What is wrong is never a span.
    return fault?.verdict.do === 'retry'
      ? fault
      : retry('EXPORT_UNAVAILABLE', text, undefined, { cause: error })
  }
}

function jsonLine(batch: Batch): Buffer {
  return Buffer.from(`${batch.toJson()}\n`)
}

/** u32 length, big-endian, then the message. */
function prefixed(batch: Batch): Uint8Array[] {
  const bytes = batch.encode()
  const head = Buffer.alloc(4)
  head.writeUInt32BE(bytes.length)
  return [head, bytes]
}

/** What was put aside, and of the file itself what counts. */
async function archivedFiles(path: string): Promise<readonly ArchiveFile[]> {
  const backups = await backupsOf(path)
  const aside = backups.map((name) => ({ path: join(dirname(path), name) }))
  const isThere = await access(path).then(
    () => true,
    () => false,
  )
  const checkpoint = await readCheckpoint(path)
  if (!isThere) return aside
  return [...aside, checkpoint === undefined ? { path } : { path, bytes: checkpoint.length }]
}
