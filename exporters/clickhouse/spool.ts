import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, open, rm, statfs } from 'node:fs/promises'
import { join } from 'node:path'

/**
 * Where blocks wait for ClickHouse to read them: memory, where the machine has it and there is room (a container's
 * /dev/shm is often 64 MB), else the data directory. We own that directory, so what lies in the folder named after it was left by a kill.
 */
export class Spool {
  readonly #memory: string | undefined
  readonly #disk: string
  #files = 0

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

  /** Resolves with the path of a file that holds the parts; the caller removes it. */
  async write(parts: readonly Uint8Array[]): Promise<string> {
    const size = sizeOf(parts)
    const path = join(await this.#folder(size), `${++this.#files}.native`)
    const file = await open(path, 'wx', 0o600)
    try {
      for (let i = 0; i < parts.length; i += MAX_PARTS) {
        const some = parts.slice(i, i + MAX_PARTS)
        const { bytesWritten } = await file.writev(some)
        if (bytesWritten < sizeOf(some)) await file.appendFile(Buffer.concat(some).subarray(bytesWritten))
      }
    } catch (error) {
      await rm(path, { force: true })
      throw error
    } finally {
      await file.close()
    }
    return path
  }

  async #folder(size: number): Promise<string> {
    if (this.#memory === undefined) return this.#disk
    const { bavail, bsize } = await statfs(this.#memory)
    return bavail * bsize > size * 2 ? this.#memory : this.#disk
  }

  async remove(): Promise<void> {
    await rm(this.#disk, { recursive: true, force: true })
    if (this.#memory !== undefined) await rm(this.#memory, { recursive: true, force: true })
  }
}

const MEMORY = '/dev/shm'
/** Linux takes 1024 buffers per writev. */
const MAX_PARTS = 1000

function sizeOf(parts: readonly Uint8Array[]): number {
  return parts.reduce((sum, part) => sum + part.length, 0)
}

async function emptied(folder: string): Promise<string> {
  await rm(folder, { recursive: true, force: true })
  await mkdir(folder, { mode: 0o700 })
  return folder
}
