import { randomUUID } from 'node:crypto'
import { mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { messageOf, retry } from '../../pipeline/fault.ts'
import { LARGEST_BYTES, type Place, type Resting, type Stored } from './place.ts'

const FOLDER_MODE = 0o700
const FILE_MODE = 0o600
const PART = '.part'
/** No write takes so long. */
const PART_MS = 3_600_000
const OCTETS = 'application/octet-stream'

/** A file per artifact: written aside, made durable, then renamed, so that it is there whole or not at all. */
export class DirectoryPlace implements Place {
  readonly #id: string
  readonly #root: string

  constructor(id: string, root: string) {
    this.#id = id
    this.#root = root
  }

  async start(): Promise<void> {
    await this.#ask(async () => {
      await mkdir(this.#root, { recursive: true, mode: FOLDER_MODE })
      await sweep(this.#root)
    })
  }

  stop(): void {}

  async probe(): Promise<void> {
    await this.#ask(() => stat(this.#root))
  }

  async find(key: string): Promise<Resting | undefined> {
    const found = await this.#ask(() => stat(this.#path(key)).catch(unlessAbsent))
    return found?.isFile() === true ? { bytes: found.size, putMs: found.mtimeMs } : undefined
  }

  async put(key: string, body: Uint8Array): Promise<void> {
    const path = this.#path(key)
    await this.#ask(async () => {
      const folder = dirname(path)
      const isNew = (await mkdir(folder, { recursive: true, mode: FOLDER_MODE })) !== undefined
      const aside = join(this.#root, `.${randomUUID()}${PART}`)
      try {
        await write(aside, body)
        await rename(aside, path)
      } catch (error) {
        await rm(aside, { force: true })
        throw error
      }
      await sync(folder)
      if (isNew) for (const above of [dirname(folder), this.#root]) await sync(above)
    })
  }

  async get(key: string): Promise<Stored | undefined> {
    const found = await this.find(key)
    if (found === undefined || found.bytes > LARGEST_BYTES) return undefined
    const body = await this.#ask(() => readFile(this.#path(key)).catch(unlessAbsent))
    return body === undefined ? undefined : { body, mediaType: OCTETS }
  }

  async *list(prefix: string, signal: AbortSignal): AsyncGenerator<Resting & { readonly key: string }> {
    const names = (folder: string) =>
      this.#ask(async () => (await readdir(this.#path(folder)).catch(unlessAbsent)) ?? [])
    for (const tenant of await names('')) {
      if (!tenant.startsWith(prefix)) continue
      for (const digits of await names(tenant)) {
        for (const name of await names(join(tenant, digits))) {
          signal.throwIfAborted()
          const key = `${tenant}/${digits}/${name}`
          const found = await this.find(key)
          if (found !== undefined) yield { key, ...found }
        }
      }
    }
  }

  async remove(key: string): Promise<void> {
    await this.#ask(() => rm(this.#path(key), { force: true }))
  }

  #path(key: string): string {
    return join(this.#root, key)
  }

  async #ask<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      throw retry('EXPORT_UNAVAILABLE', `${this.#id}: ${messageOf(error)}`)
    }
  }
}

/** What a process that was killed has left half-written. */
async function sweep(root: string): Promise<void> {
  for (const name of await readdir(root)) {
    if (!name.endsWith(PART)) continue
    const found = await stat(join(root, name)).catch(unlessAbsent)
    if (found !== undefined && Date.now() - found.mtimeMs > PART_MS)
      await rm(join(root, name), { force: true })
  }
}

async function write(path: string, body: Uint8Array): Promise<void> {
  const file = await open(path, 'wx', FILE_MODE)
  try {
    await file.writeFile(body)
    await file.sync()
  } finally {
    await file.close()
  }
}

async function sync(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

function unlessAbsent(error: unknown): undefined {
  const { code } = error as NodeJS.ErrnoException
  if (code !== 'ENOENT' && code !== 'ENOTDIR') throw error
}
