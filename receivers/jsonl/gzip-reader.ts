import type { FileHandle } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { constants, createGunzip, type Gunzip } from 'node:zlib'
import { reject } from '../../pipeline/fault.ts'
import type { Source } from './source.ts'

const CHUNK = 64 * 1024
/** Who reads whole lines comes back for the one that was cut: this much is given again without beginning anew. */
const KEPT = 64 * 1024

/**
 * An archive from its start to its end, forwards: a position before the present one begins anew, and so does an archive
 * that has grown. A few chunks are in memory, whatever it inflates to. One that is still being written ends early.
 */
export class GzipReader implements Source {
  readonly #handle: FileHandle
  #gunzip: Gunzip | undefined
  #chunks: AsyncIterator<Buffer> | undefined
  #rest: Buffer = Buffer.alloc(0)
  #position = 0
  /** The bytes before `#position`. */
  #kept: Buffer = Buffer.alloc(0)
  /** Compressed size when the end was reached. */
  #endedAt: number | undefined
  /** Where the file ended when it was read for the present `#gunzip`, which may be long before that gives its last. */
  #fileEnd: { at?: number } = {}
  #failed: Error | undefined

  constructor(handle: FileHandle) {
    this.#handle = handle
  }

  size(): Promise<undefined> {
    return Promise.resolve(undefined)
  }

  async close(): Promise<void> {
    this.#gunzip?.destroy()
    await this.#handle.close()
  }

  /** Throws BATCH_MALFORMED (reject) where the archive is damaged; what came before it is still read. */
  async read(position: number, into: Buffer): Promise<number> {
    const filled = await this.#read(position, into)
    // What was inflated may have been read before the file grew; who asked notes the file as it is now.
    return filled < into.length && (await this.#hasGrown()) ? this.#read(position, into) : filled
  }

  async #hasGrown(): Promise<boolean> {
    return this.#endedAt !== undefined && (await this.#handle.stat()).size !== this.#endedAt
  }

  async #read(position: number, into: Buffer): Promise<number> {
    const grew = await this.#hasGrown()
    const isBefore = position < this.#position - this.#kept.length
    if (this.#chunks === undefined || isBefore || grew) this.#begin()
    else this.#goBack(position)
    if (this.#position < position) this.#kept = Buffer.alloc(0)
    while (this.#position < position) {
      if ((await this.#take(undefined, position - this.#position)) > 0) continue
      if (this.#failed !== undefined) throw this.#failed
      return 0
    }
    let filled = 0
    while (filled < into.length) {
      const taken = await this.#take(into.subarray(filled), into.length - filled)
      if (taken === 0) break
      filled += taken
    }
    if (filled > 0) this.#kept = Buffer.from(into.subarray(Math.max(0, filled - KEPT), filled))
    if (filled === 0 && this.#failed !== undefined) throw this.#failed
    return filled
  }

  #goBack(position: number): void {
    if (position >= this.#position) return
    const again = this.#kept.subarray(position - this.#position)
    this.#rest = Buffer.concat([again, this.#rest])
    this.#position = position
    this.#kept = this.#kept.subarray(0, this.#kept.length - again.length)
  }

  #begin(): void {
    this.#gunzip?.destroy()
    const fileEnd = (this.#fileEnd = {})
    const gunzip = createGunzip({ chunkSize: CHUNK, finishFlush: constants.Z_SYNC_FLUSH })
    const file = Readable.from(this.#compressed(fileEnd), { objectMode: false, highWaterMark: CHUNK })
    file.on('error', (error) => gunzip.destroy(error))
    gunzip.on('close', () => file.destroy())
    // The iterator reports it; without a listener it would end the process when nobody reads just then.
    gunzip.on('error', () => undefined)
    file.pipe(gunzip)
    this.#gunzip = gunzip
    this.#chunks = gunzip[Symbol.asyncIterator]() as AsyncIterator<Buffer>
    this.#rest = Buffer.alloc(0)
    this.#kept = Buffer.alloc(0)
    this.#position = 0
    this.#endedAt = undefined
    this.#failed = undefined
  }

  async *#compressed(fileEnd: { at?: number }): AsyncGenerator<Buffer> {
    for (let position = 0; ;) {
      const into = Buffer.allocUnsafe(CHUNK)
      const { bytesRead } = await this.#handle.read(into, 0, CHUNK, position)
      if (bytesRead === 0) {
        fileEnd.at = position
        return
      }
      position += bytesRead
      yield into.subarray(0, bytesRead)
    }
  }

  /** Up to `most` bytes, 0 at the present end. */
  async #take(into: Buffer | undefined, most: number): Promise<number> {
    if (this.#rest.length === 0 && !(await this.#next())) return 0
    const size = Math.min(most, this.#rest.length)
    if (into !== undefined) this.#rest.copy(into, 0, 0, size)
    this.#rest = this.#rest.subarray(size)
    this.#position += size
    return size
  }

  async #next(): Promise<boolean> {
    if (this.#endedAt !== undefined || this.#failed !== undefined) return false
    try {
      const { size } = await this.#handle.stat()
      const next = await this.#chunks?.next()
      if (next === undefined || next.done === true) {
        this.#endedAt = this.#fileEnd.at ?? size
        return false
      }
      this.#rest = next.value
      return true
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? 'unknown'
      this.#failed = reject('BATCH_MALFORMED', `the gzip archive is damaged (${code})`)
      return false
    }
  }
}
