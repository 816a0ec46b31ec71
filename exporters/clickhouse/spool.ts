import { createHash } from 'node:crypto'
import {
  closeSync,
  constants,
  existsSync,
  ftruncateSync,
  openSync,
  rmSync,
  statfsSync,
  writeSync,
  writevSync,
} from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'

/** A block in a file. */
interface Spooled {
  readonly path: string
  readonly size: number
}

/**
 * Where blocks wait for ClickHouse to read them: memory, where the machine has it and there is room (a container's
 * /dev/shm is often 64 MB), else the data directory. We own that directory, so what lies in the folder named after it was left by a kill.
 * A file that was read is kept for the next block, for a while: writing over its pages takes a third of the CPU of fresh ones.
 */
export class Spool {
  readonly #memory: string | undefined
  readonly #disk: string
  #files = 0
  #kept: Spooled | undefined
  #idle: NodeJS.Timeout | undefined

  private constructor(memory: string | undefined, disk: string) {
    this.#memory = memory
    this.#disk = disk
  }

  static async open(directory: string): Promise<Spool> {
    const disk = await emptied(join(directory, 'weir-spool'))
    const name = `weir-${createHash('sha256').update(directory).digest('hex').slice(0, 16)}`
    const memory = existsSync(MEMORY) ? await emptied(join(MEMORY, name)).catch(() => undefined) : undefined
    return new Spool(memory, disk)
  }

  /**
   * Parts in a file, to be given to `release` or `discard`. Synchronous: it is a copy within memory, and the
   * steps of an asynchronous one would each wait for the next block's encoding, and the insert with them (measured: 0.7 s).
   */
  write(parts: readonly Uint8Array[]): Spooled {
    const size = sizeOf(parts)
    const path = this.#over(size) ?? join(this.#folder(size), `${++this.#files}.native`)
    try {
      fillFile(path, parts, size)
    } catch (error) {
      rmSync(path, { force: true })
      throw error
    }
    return { path, size }
  }

  /** Nobody reads it any more. */
  async release(block: Spooled): Promise<void> {
    if (this.#kept !== undefined) return await this.discard(block)
    this.#kept = block
    this.#idle = setTimeout(() => void this.#forget(), IDLE_MS).unref()
  }

  /** Somebody may still read it. */
  async discard({ path }: Spooled): Promise<void> {
    await rm(path, { force: true })
  }

  /** The file to write over, where one was kept and there is room for what is more. */
  #over(size: number): string | undefined {
    const kept = this.#kept
    if (kept === undefined) return undefined
    clearTimeout(this.#idle)
    this.#kept = undefined
    if (size <= kept.size || hasRoom(dirname(kept.path), size - kept.size)) return kept.path
    rmSync(kept.path, { force: true })
    return undefined
  }

  async #forget(): Promise<void> {
    const kept = this.#kept
    this.#kept = undefined
    if (kept !== undefined) await this.discard(kept)
  }

  #folder(size: number): string {
    return this.#memory !== undefined && hasRoom(this.#memory, size) ? this.#memory : this.#disk
  }

  async remove(): Promise<void> {
    clearTimeout(this.#idle)
    this.#kept = undefined
    await rm(this.#disk, { recursive: true, force: true })
    if (this.#memory !== undefined) await rm(this.#memory, { recursive: true, force: true })
  }
}

const MEMORY = '/dev/shm'
/** Linux takes 1024 buffers per writev. */
const MAX_PARTS = 1000

/** Memory that an idle daemon gives back. */
const IDLE_MS = 10_000

function hasRoom(folder: string, size: number): boolean {
  const { bavail, bsize } = statfsSync(folder)
  return bavail * bsize > size * 2
}

function fillFile(path: string, parts: readonly Uint8Array[], size: number): void {
  const file = openSync(path, constants.O_WRONLY | constants.O_CREAT, 0o600)
  try {
    for (let i = 0; i < parts.length; i += MAX_PARTS) writeAll(file, parts.slice(i, i + MAX_PARTS))
    ftruncateSync(file, size)
  } finally {
    closeSync(file)
  }
}

function writeAll(file: number, parts: readonly Uint8Array[]): void {
  const written = writevSync(file, parts)
  if (written === sizeOf(parts)) return
  const rest = Buffer.concat(parts).subarray(written)
  for (let at = 0; at < rest.length;) at += writeSync(file, rest, at)
}

function sizeOf(parts: readonly Uint8Array[]): number {
  return parts.reduce((sum, part) => sum + part.length, 0)
}

async function emptied(folder: string): Promise<string> {
  await rm(folder, { recursive: true, force: true })
  await mkdir(folder, { mode: 0o700 })
  return folder
}
