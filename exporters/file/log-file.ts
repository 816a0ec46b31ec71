import { constants } from 'node:fs'
import { access, mkdir, open, rename, stat, type FileHandle } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Log } from '../../pipeline/telemetry/log.ts'
import { backupName, dayOf, prune } from './backups.ts'
import { isNoted, readCheckpoint, syncDirectory, writeCheckpoint, type Checkpoint } from './checkpoint.ts'

export interface LogFileOptions {
  readonly path: string
  readonly createDirectory: boolean
  readonly sync: boolean
  /** Text that wants its own lines. */
  readonly lines: boolean
  readonly rotation:
    | {
        readonly maxBytes: number
        readonly daily: boolean
        readonly maxDays: number
        readonly maxBackups: number
        readonly local: boolean
      }
    | undefined
  readonly clock: () => number
  readonly log: Log
  readonly onRotated: () => void
}

const NEWLINE = 0x0a

/**
 * A file that grows by whole deliveries, each once. A delivery counts when the checkpoint says so; what a crash or a full
 * disk left behind is cut off before the next one. What others did to the file between two deliveries (cut it, moved it,
 * or went on with it as the daemon that drove the cursor meanwhile) is seen. Not for concurrent calls.
 */
export class LogFile {
  readonly #options: LogFileOptions
  #file: FileHandle | undefined
  #checkpoint: Checkpoint = { v: 1, length: 0, openedMs: 0, tokens: {} }

  constructor(options: LogFileOptions) {
    this.#options = options
  }

  get length(): number {
    return this.#checkpoint.length
  }

  /** Brings the file to what its checkpoint says. Throws errors of the file system. */
  async open(): Promise<void> {
    if (this.#file !== undefined && (await this.#isAsLeft(this.#file))) return
    await this.close()
    const { path, createDirectory, sync } = this.#options
    if (createDirectory) await mkdir(dirname(path), { recursive: true })
    const found = await readCheckpoint(path)
    const file = await openFile(path)
    this.#file = file
    try {
      this.#checkpoint = await this.#recover(file, found)
      // Before the first delivery too: its torn end must not pass for what was there before.
      if (found !== this.#checkpoint) await writeCheckpoint(path, this.#checkpoint, sync)
      if (this.#checkpoint.rotateTo !== undefined) await this.#putAside(this.#checkpoint.rotateTo)
    } catch (error) {
      await this.close()
      throw error
    }
    await this.prune()
  }

  /** True when the delivery is in the file already. */
  async has(cursor: string, token: string): Promise<boolean> {
    await this.open()
    return this.#checkpoint.tokens[cursor] === token
  }

  /** Appends one delivery; a token makes its repeat known. On an error nothing of it counts. */
  async append(
    bytes: Uint8Array,
    delivery?: { readonly cursor: string; readonly token: string },
  ): Promise<void> {
    await this.open()
    try {
      if (this.#isDue(bytes.length)) await this.#rotate()
      await this.#append(bytes, delivery)
    } catch (error) {
      // What the disk has now is not known: it is read again, and a torn end gives its room back at once.
      await this.close()
      await this.open().catch(() => undefined)
      throw error
    }
  }

  async prune(): Promise<void> {
    const { path, rotation, clock, log } = this.#options
    if (rotation === undefined) return
    try {
      const gone = await prune(path, rotation, clock())
      if (gone.length > 0) log.info({ files: gone.length }, 'Files past their retention were deleted')
    } catch (error) {
      log.warn({ error: String(error) }, 'Files past their retention could not be deleted')
    }
  }

  async close(): Promise<void> {
    const file = this.#file
    this.#file = undefined
    await file?.close().catch(() => undefined)
  }

  async #isAsLeft(file: FileHandle): Promise<boolean> {
    const { path } = this.#options
    const there = await stat(path).catch(() => undefined)
    const own = await file.stat()
    const isSame = own.ino === there?.ino && own.dev === there.dev && own.size === this.#checkpoint.length
    return isSame && (await isNoted(path, this.#checkpoint))
  }

  async #append(
    bytes: Uint8Array,
    delivery?: { readonly cursor: string; readonly token: string },
  ): Promise<void> {
    const { path, sync, clock } = this.#options
    const file = this.#file as FileHandle
    const { length, openedMs, tokens } = this.#checkpoint
    for (let at = 0; at < bytes.length;) {
      at += (await file.write(bytes, at, bytes.length - at, length + at)).bytesWritten
    }
    if (sync) await file.datasync()
    const next: Checkpoint = {
      v: 1,
      length: length + bytes.length,
      openedMs: length === 0 ? clock() : openedMs,
      tokens: delivery === undefined ? tokens : { ...tokens, [delivery.cursor]: delivery.token },
    }
    await writeCheckpoint(path, next, sync)
    this.#checkpoint = next
  }

  async #recover(file: FileHandle, found: Checkpoint | undefined): Promise<Checkpoint> {
    const { path, log, lines, clock } = this.#options
    const { size, mtimeMs } = await file.stat()
    if (found === undefined) {
      const length = lines ? await endLine(file, size) : size
      return { v: 1, length, openedMs: size === 0 ? clock() : mtimeMs, tokens: {} }
    }
    if (size > found.length) await file.truncate(found.length)
    if (size >= found.length || found.rotateTo !== undefined) return found
    log.warn(
      { path, bytes: size, noted: found.length },
      'The file was cut by somebody else; going on at its end',
    )
    return { ...found, length: lines ? await endLine(file, size) : size }
  }

  #isDue(more: number): boolean {
    const { rotation, clock } = this.#options
    const { length, openedMs } = this.#checkpoint
    if (rotation === undefined || length === 0) return false
    if (length + more > rotation.maxBytes) return true
    return rotation.daily && dayOf(openedMs, rotation.local) !== dayOf(clock(), rotation.local)
  }

  async #rotate(): Promise<void> {
    const { path, sync, rotation, clock } = this.#options
    let atMs = clock()
    const name = () => backupName(path, atMs, rotation?.local === true)
    while (await exists(name())) atMs++
    this.#checkpoint = { ...this.#checkpoint, rotateTo: name() }
    await writeCheckpoint(path, this.#checkpoint, sync)
    await this.#putAside(name())
    await this.prune()
  }

  /** The checkpoint names the backup: whatever was done of this before a crash, the rest follows. */
  async #putAside(backup: string): Promise<void> {
    const { path, sync, clock, onRotated } = this.#options
    // A file of that name that is there already is this one: the crash came between the rename and the checkpoint.
    if (!(await exists(backup))) await rename(path, backup)
    if (sync) await syncDirectory(dirname(path))
    await this.close()
    this.#file = await openFile(path)
    const { size } = await this.#file.stat()
    const next: Checkpoint = { v: 1, length: size, openedMs: clock(), tokens: this.#checkpoint.tokens }
    await writeCheckpoint(path, next, sync)
    this.#checkpoint = next
    onRotated()
  }
}

function openFile(path: string): Promise<FileHandle> {
  return open(path, constants.O_RDWR | constants.O_CREAT, 0o640)
}

async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  )
}

/** The length at which a new line may begin: one that somebody left open is ended. */
async function endLine(file: FileHandle, size: number): Promise<number> {
  if (size === 0) return 0
  const { buffer } = await file.read(Buffer.alloc(1), 0, 1, size - 1)
  if (buffer[0] === NEWLINE) return size
  await file.write(Buffer.from([NEWLINE]), 0, 1, size)
  return size + 1
}

/** Whether a file could be written here; throws why not. */
export async function checkPlace(path: string): Promise<void> {
  const place = (await exists(path)) ? path : dirname(path)
  const { isDirectory } = await stat(place).then((found) => ({ isDirectory: found.isDirectory() }))
  await access(place, constants.W_OK)
  if (place === path && isDirectory) throw new Error(`${path} is a directory`)
}
