import { closeSync, openSync, readSync } from 'node:fs'
import { messageOf } from '../pipeline/fault.ts'
import { LIMITS } from './yaml-limits.ts'

/** Reads a UTF-8 text of at most 1 MiB; throws an Error whose message says what is wrong with the file. */
export function readText(path: string): string {
  const bytes = readBounded(path)
  if (bytes.length > LIMITS.bytes) throw new Error(`is larger than ${LIMITS.bytes / 1024} KiB`)
  try {
    // A byte order mark is dropped by the decoder.
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw new Error('is not UTF-8 text')
  }
}

/** Never reads more than one byte over the limit, whatever the path names. */
function readBounded(path: string): Uint8Array {
  const buffer = new Uint8Array(LIMITS.bytes + 1)
  let length = 0
  const descriptor = open(path)
  try {
    for (;;) {
      const read = readSync(descriptor, buffer, length, buffer.length - length, null)
      length += read
      if (read === 0 || length === buffer.length) return buffer.subarray(0, length)
    }
  } catch (error) {
    throw new Error(reasonOf(error), { cause: error })
  } finally {
    closeSync(descriptor)
  }
}

function open(path: string): number {
  try {
    return openSync(path, 'r')
  } catch (error) {
    throw new Error(reasonOf(error), { cause: error })
  }
}

function reasonOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  if (code === 'ENOENT') return 'does not exist'
  if (code === 'EACCES') return 'may not be read by this user'
  if (code === 'EISDIR') return 'is a directory'
  return `cannot be read: ${messageOf(error)}`
}
