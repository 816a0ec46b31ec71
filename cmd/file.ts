import { writeFile } from 'node:fs/promises'
import { messageOf, reject, type Fault } from '../pipeline/fault.ts'

/** By error code of the system: what is the matter with the place, and what to do. */
const WHY: Readonly<Record<string, string>> = {
  EEXIST: 'there is such a file already: remove it, or name another',
  ENOENT: 'its directory does not exist',
  ENOTDIR: 'its directory is none',
  EISDIR: 'that is a directory: name a file in it',
  EACCES: 'it may not be written here',
  EPERM: 'it may not be written here',
  EROFS: 'it may not be written here: the file system is read-only',
  ENOSPC: 'the disk is full',
  ENAMETOOLONG: 'its name is too long',
}

/** Of a file that a flag named. */
export function unwritable(flag: string, file: string, error: unknown): Fault {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  return reject('REQUEST_INVALID', `${flag} ${file}: ${WHY[code] ?? messageOf(error)}`, { cause: error })
}

/** A file that is not there yet. */
export async function writeNew(flag: string, file: string, text: string): Promise<void> {
  try {
    await writeFile(file, text, { flag: 'wx' })
  } catch (error) {
    throw unwritable(flag, file, error)
  }
}
