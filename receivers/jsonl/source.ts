import type { FileHandle } from 'node:fs/promises'
import { GzipReader } from './gzip-reader.ts'

/** A file's bytes by position; of an archive the decompressed ones. */
export interface Source {
  /** Fills `into` from `position` on as far as the file goes; the number of bytes. */
  read(position: number, into: Buffer): Promise<number>
  /** Bytes now; undefined where nobody knows before the end (archives). */
  size(): Promise<number | undefined>
  close(): Promise<void>
}

export function sourceOf(handle: FileHandle, compressed: boolean): Source {
  return compressed ? new GzipReader(handle) : new PlainSource(handle)
}

class PlainSource implements Source {
  readonly #handle: FileHandle

  constructor(handle: FileHandle) {
    this.#handle = handle
  }

  async read(position: number, into: Buffer): Promise<number> {
    let filled = 0
    while (filled < into.length) {
      const { bytesRead } = await this.#handle.read(into, filled, into.length - filled, position + filled)
      if (bytesRead === 0) break
      filled += bytesRead
    }
    return filled
  }

  async size(): Promise<number> {
    return (await this.#handle.stat()).size
  }

  close(): Promise<void> {
    return this.#handle.close()
  }
}
