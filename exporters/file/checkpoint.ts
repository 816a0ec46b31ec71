import { open, readFile, rename } from 'node:fs/promises'
import { dirname } from 'node:path'
import { reject } from '../../pipeline/fault.ts'

/**
 * What of the file counts, in `<path>.checkpoint` beside it: JSON, replaced as a whole. What the file has behind `length`
 * is from a delivery that did not end.
 */
export interface Checkpoint {
  readonly v: 1
  /** Bytes of the file that hold finished deliveries. */
  readonly length: number
  /** When the first of them came, Unix ms. */
  readonly openedMs: number
  /** The name that the file is about to get; set while it is put aside. */
  readonly rotateTo?: string
  /** Cursor → token of its last delivery. */
  readonly tokens: Readonly<Record<string, string>>
}

export function checkpointPath(path: string): string {
  return `${path}.checkpoint`
}

/** Undefined where there is none, or a power cut has left none that can be read. */
export async function readCheckpoint(path: string): Promise<Checkpoint | undefined> {
  const text = await readFile(checkpointPath(path), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return ''
    throw error
  })
  const found = parse(text)
  if (found === undefined || found.v === 1) return found
  throw reject(
    'STATE_VERSION',
    `${checkpointPath(path)} has format ${String(found.v)}; this weir reads up to 1`,
  )
}

function parse(text: string): Checkpoint | undefined {
  try {
    return JSON.parse(text) as Checkpoint
  } catch {
    return undefined
  }
}

/** Whether the checkpoint is still the one that was read or written here. */
export async function isNoted(path: string, checkpoint: Checkpoint): Promise<boolean> {
  const text = await readFile(checkpointPath(path), 'utf8').catch(() => '')
  return text === JSON.stringify(checkpoint)
}

/** `sync`: on disk once it resolves. */
export async function writeCheckpoint(path: string, checkpoint: Checkpoint, sync: boolean): Promise<void> {
  const draft = `${checkpointPath(path)}.new`
  const file = await open(draft, 'w', 0o640)
  try {
    await file.writeFile(JSON.stringify(checkpoint))
    if (sync) await file.sync()
  } finally {
    await file.close()
  }
  await rename(draft, checkpointPath(path))
  if (sync) await syncDirectory(dirname(path))
}

/** Makes renames last. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r')
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}
