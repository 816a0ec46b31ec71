import { mkdirSync } from 'node:fs'
import { statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { open, type Database, type RootDatabase } from 'lmdb'
import { Fault, messageOf, reject, retry, type FaultCode } from '../fault.ts'
import { checkLmdbFile } from './lmdb-file.ts'

/** An LMDB environment as weir uses it: binary values, fixed map, a commit is a synced commit. */
export type Env = RootDatabase<Buffer, string>
export type Table<K extends number | string> = Database<Buffer, K>

export interface EnvOptions {
  readonly directory: string
  /** Address space, not disk: the file grows as it is used. */
  readonly mapBytes: number
  /** Of a new file; one that is there keeps its own. */
  readonly pageBytes?: number
  /** What an operator should do about a damaged file; ends START_FAILED messages. */
  readonly remedy: string
}

/**
 * Opens `<directory>/data.mdb`. Plain LMDB commits (no NOSYNC, no writemap), chosen by measurement on lmdb 3.5.6:
 * - `overlappingSync` gains nothing here: in 3.5.6 the promise of an asynchronous write resolves after fdatasync
 *   in that mode, too (commit 0.42 ms against 0.38 ms for 1 KB), and it keeps a third meta page that stock LMDB tools cannot read;
 * - `noSync` is 2 to 4 times faster, but an OS crash may leave a damaged tree;
 * - `useWritemap` turns a full disk into SIGBUS.
 */
export function openEnv(options: EnvOptions): Env {
  const file = join(options.directory, 'data.mdb')
  try {
    mkdirSync(options.directory, { recursive: true, mode: 0o700 })
    checkLmdbFile(file, options.remedy)
    return open<Buffer, string>({
      path: options.directory,
      noSubdir: false,
      encoding: 'binary',
      mapSize: options.mapBytes,
      ...(options.pageBytes !== undefined && { pageSize: options.pageBytes }),
      maxReaders: 512,
      overlappingSync: false,
      compression: false,
      // Each of our writes is one explicit batch. With it on, a failed commit rejects a promise inside lmdb-js that
      // nobody can reach, which ends the process as an unhandled rejection.
      eventTurnBatching: false,
    })
  } catch (error) {
    if (error instanceof Fault) throw error
    throw reject('START_FAILED', `cannot open ${file}: ${messageOf(error)}. ${options.remedy}`, {
      cause: error,
    })
  }
}

/**
 * The real cause of a failed asynchronous write: lmdb-js rejects with "Commit failed" and hangs the LMDB error on
 * `commitError`, a promise that must be awaited or it crashes the process as an unhandled rejection.
 */
async function commitCause(error: unknown): Promise<Error> {
  const pending = (error as { commitError?: Promise<never> } | undefined)?.commitError
  if (pending !== undefined) {
    try {
      await pending
    } catch (cause) {
      return cause instanceof Error ? cause : new Error(String(cause))
    }
  }
  return error instanceof Error ? error : new Error(String(error))
}

const FULL = /MDB_MAP_FULL|No space left|Disk quota|MDB_TXN_FULL/i
/** LMDB reports a write that was cut short by a full disk as EIO. */
const SHORT_WRITE = /Input\/output error/i
const FULL_BELOW_BYTES = 16 * 1024 * 1024
const FULL_MS = 5000
const FAILED_MS = 1000

/** The Fault of a failed write: `full` when the disk or the map is (deleting helps, repeating alone does not). */
export async function writeFault(
  error: unknown,
  directory: string,
  codes: { readonly full: FaultCode; readonly failed: FaultCode },
): Promise<Fault> {
  if (error instanceof Fault) return error
  const cause = await commitCause(error)
  const message = `writing to ${directory} failed: ${messageOf(cause)}`
  const isFull =
    FULL.test(cause.message) || (SHORT_WRITE.test(cause.message) && (await isDiskFull(directory)))
  if (isFull) return retry(codes.full, `${message} (the disk is full)`, FULL_MS, { cause })
  return retry(codes.failed, message, FAILED_MS, { cause })
}

async function isDiskFull(directory: string): Promise<boolean> {
  const { bavail, bsize } = await statfs(directory)
  return bavail * bsize < FULL_BELOW_BYTES
}
