import { constants, type Stats } from 'node:fs'
import { open, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { messageOf, reject, retry } from '../fault.ts'
import type { Archive, ArchivedObject, ArchiveScope } from './archive.ts'

/** A file, and how much of it counts. */
export interface ArchiveFile {
  readonly path: string
  readonly bytes?: number
}

const PAD = 16

/** Files as an archive; what they hold does not say whose it is. */
export class FileArchive implements Archive {
  readonly #files: () => Promise<readonly ArchiveFile[]>

  constructor(files: () => Promise<readonly ArchiveFile[]>) {
    this.#files = files
  }

  /** Oldest first, by when a file was made: a file that is put aside meanwhile keeps its position. */
  async *list({ after = '' }: ArchiveScope): AsyncGenerator<ArchivedObject> {
    const found: ArchivedObject[] = []
    for (const { path, bytes } of await this.#files()) {
      const stats = await looked(path)
      const position = positionOf(stats)
      if (position > after)
        found.push({ name: path, position, bytes: Math.min(bytes ?? stats.size, stats.size) })
    }
    yield* found.sort((a, b) => (a.position < b.position ? -1 : 1))
  }

  async *open({ name, bytes, position }: ArchivedObject): AsyncGenerator<Uint8Array> {
    if (bytes === 0) return
    // A pipe would be waited for.
    const file = await open(name, constants.O_RDONLY | constants.O_NONBLOCK)
    try {
      if (positionOf(await file.stat()) !== position) {
        throw retry('EXPORT_UNAVAILABLE', `source: ${name} was put aside meanwhile: it is looked for again`)
      }
      yield* file.createReadStream({ start: 0, end: bytes - 1, highWaterMark: 1 << 18, autoClose: false })
    } finally {
      await file.close()
    }
  }
}

/** A file, or all files below a directory. */
export function filesAt(path: string): FileArchive {
  return new FileArchive(async () => {
    const found = await stat(path).catch((error: unknown) => {
      throw reject('REQUEST_INVALID', `source: ${path} cannot be read: ${messageOf(error)}`)
    })
    if (!found.isDirectory()) return [{ path }]
    const entries = await readdir(path, { recursive: true, withFileTypes: true })
    return entries
      .filter((entry) => entry.isFile() && !entry.name.endsWith('.checkpoint'))
      .map((entry) => ({ path: join(entry.parentPath, entry.name) }))
  })
}

function positionOf({ birthtimeMs, ino }: Stats): string {
  return `${String(Math.floor(birthtimeMs)).padStart(PAD, '0')}-${String(ino).padStart(PAD, '0')}`
}

async function looked(path: string) {
  const found = await stat(path)
  if (!found.isFile()) throw reject('REQUEST_INVALID', `source: ${path} is no file`)
  return found
}
