import { setImmediate as nextTurn } from 'node:timers/promises'
import { ARTIFACT, artifactRef, type Artifact, type ArtifactName } from '../../pipeline/artifact.ts'
import type { AttrRef, AttrValue, Batch } from '../../pipeline/batch/batch.ts'
import type { Processor } from '../../pipeline/component.ts'
import type { Context } from '../../pipeline/factory.ts'
import { retry } from '../../pipeline/fault.ts'
import { factsOf } from '../../pipeline/genai/facts-of.ts'
import type { Retainable } from '../../pipeline/retention.ts'
import { boundedBy } from '../../pipeline/wal/reader-deadline.ts'
import { Archive, sha256Of, type Stored } from './archive.ts'
import type { Config } from './config.ts'
import { mediaTypeOf, previewOf } from './content.ts'
import { ArtifactRetention } from './retention.ts'
import { type BatchUploads, Uploads } from './uploads.ts'

/** What may be under way at once, sealed copies included. */
const UPLOADS = { bytes: 32 * 1024 * 1024, count: 8 } as const

/**
 * Moves large values to a bucket or directory and leaves a preview and a reference. A batch is done when what it refers
 * to is stored: where the store is down, its range waits.
 */
export class ArtifactsProcessor implements Processor {
  readonly #config: Config
  readonly #context: Context
  readonly #archive: Archive
  readonly #uploads = new Uploads(UPLOADS)
  readonly #stopping = new AbortController()
  /** Once per pipeline is enough. */
  readonly retainable?: Retainable

  constructor(config: Config, context: Context) {
    this.#config = config
    this.#context = context
    // Behind another than the first exporter, the first one's chain has mostly put it.
    this.#archive = new Archive(config, context, { looksFirst: context.counts === false })
    if (context.counts !== false) this.retainable = new ArtifactRetention(context.id, this.#archive.place)
  }

  start(): Promise<void> {
    return this.#archive.start()
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#uploads.idle()
    this.#archive.place.stop()
  }

  probe(signal: AbortSignal): Promise<void> {
    return this.#archive.place.probe(signal)
  }

  process(batch: Batch): void | Promise<void> {
    const large = batch.largeValues(this.#config.min_bytes)
    if (large.length > 0 && batch.live > 0) return this.#move(batch, large)
  }

  async #move(batch: Batch, large: readonly AttrRef[]): Promise<void> {
    // What spans mean is read from their values as they came.
    factsOf(batch)
    const uploads = this.#uploads.ofBatch()
    try {
      for (const ref of large) await this.#moveOne(batch, ref, uploads)
    } finally {
      await uploads.settled()
    }
  }

  async #moveOne(batch: Batch, ref: AttrRef, uploads: BatchUploads): Promise<void> {
    const { tenant, receivedAtMs } = batch.meta
    const bytes = batch.content(ref)
    const mediaType = mediaTypeOf(batch, ref)
    const name = { tenant, sha256: sha256Of(bytes) }
    const preview = previewOf(batch, ref, mediaType, this.#config.preview_bytes)
    await uploads.begin(bytes.length, async () => {
      const stored = await this.#store(name, { bytes, mediaType }, receivedAtMs)
      this.#count(bytes.length, stored)
    })
    batch.setValue(ref, preview)
    const notes: [string, AttrValue][] = [
      [ARTIFACT.ref, artifactRef(name)],
      [ARTIFACT.sha256, name.sha256],
      [ARTIFACT.size, bytes.length],
      [ARTIFACT.mediaType, mediaType],
    ]
    batch.annotate(ref, new Map(notes))
    // Leases and health checks need their share of the event loop.
    await nextTurn()
  }

  #store(name: ArtifactName, artifact: Artifact, neededMs: number): Promise<Stored> {
    const { id } = this.#context
    const { timeout } = this.#config
    return boundedBy(this.#stopping.signal, timeout, id, async (signal) => {
      try {
        return await this.#archive.put(name, artifact, neededMs, signal)
      } catch (error) {
        if (!signal.aborted || this.#stopping.signal.aborted) throw error
        const what = `an artifact of ${artifact.bytes.length} bytes was not stored`
        throw retry('EXPORT_UNAVAILABLE', `${id}: ${what} within ${timeout} ms`)
      }
    })
  }

  #count(bytes: number, stored: Stored): void {
    const { meter, id, counts } = this.#context
    const labels = { processor: id }
    meter.counter('weir_artifact_puts').add(stored === 'put' ? 1 : 0, labels)
    if (counts === false) return
    meter.counter('weir_artifacts').add(1, labels)
    meter.counter('weir_artifact_bytes').add(bytes, labels)
  }
}
