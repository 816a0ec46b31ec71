import { constants, readdir, type Dirent } from 'node:fs'
import { lstat, open, realpath, type FileHandle } from 'node:fs/promises'
import { dirname, isAbsolute, relative, resolve, sep } from 'node:path'
import { glob, isDynamicPattern } from 'tinyglobby'

/** A regular file below an allowed root, as it is now. */
export interface Found {
  /** As the pattern gave it. */
  readonly path: string
  readonly dev: string
  readonly ino: string
  readonly size: number
  readonly mtimeMs: number
}

export type Refusal = 'outside_roots' | 'not_regular' | 'unreadable'

export interface FinderOptions {
  readonly include: readonly string[]
  readonly exclude: readonly string[]
  readonly roots: readonly string[]
  readonly onRefused: (path: string, why: Refusal, detail: string) => void
}

/** Finds what the patterns name, and opens nothing but regular files below the roots. */
export class Finder {
  readonly #options: FinderOptions
  readonly #roots: readonly string[]
  /** As they are on disk: a root may itself be reached through a link. */
  #realRoots: readonly string[] = []

  constructor(options: FinderOptions) {
    this.#options = options
    this.#roots =
      options.roots.length > 0 ? options.roots.map((root) => resolve(root)) : basesOf(options.include)
  }

  async find(): Promise<Found[]> {
    const { include, exclude } = this.#options
    const real = await Promise.all(this.#roots.map((root) => realpath(root).catch(() => undefined)))
    this.#realRoots = real.filter((root) => root !== undefined)
    const paths = await glob([...include], {
      ignore: [...exclude],
      absolute: true,
      dot: true,
      followSymbolicLinks: false,
      expandDirectories: false,
      fs: { readdir: readdirAsFiles as typeof readdir },
    })
    const found: Found[] = []
    for (const path of paths.sort()) {
      const one = await this.#look(path)
      if (one !== undefined) found.push(one)
    }
    return found
  }

  async #look(path: string): Promise<Found | undefined> {
    try {
      const real = await this.#allowed(path)
      if (real === undefined) return undefined
      const { dev, ino, size, mtimeMs, isFile } = await statOf(real)
      if (isFile) return { path, dev, ino, size, mtimeMs }
      this.#options.onRefused(path, 'not_regular', 'it is no regular file')
    } catch (error) {
      if (!isGone(error)) this.#options.onRefused(path, 'unreadable', codeOf(error))
    }
    return undefined
  }

  /** The file itself; undefined when it is gone or is not what was found any more. */
  async open(file: Found): Promise<FileHandle | undefined> {
    let handle: FileHandle | undefined
    try {
      const real = await this.#allowed(file.path)
      if (real === undefined) return undefined
      // O_NONBLOCK: a fifo that took the file's place must not hold the daemon; O_NOFOLLOW: nor a link lead it away.
      handle = await open(real, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
      const stat = await handle.stat({ bigint: true })
      const same = stat.isFile() && String(stat.ino) === file.ino && String(stat.dev) === file.dev
      // A directory on the way may have been swapped for a link in between.
      if (same && (await realpath(real)) === real) return handle
    } catch (error) {
      if (!isGone(error)) this.#options.onRefused(file.path, 'unreadable', codeOf(error))
    }
    await handle?.close()
    return undefined
  }

  async #allowed(path: string): Promise<string | undefined> {
    const real = await realpath(path)
    if (this.#realRoots.some((root) => isBelow(real, root))) return real
    this.#options.onRefused(path, 'outside_roots', 'it leads out of the allowed roots')
    return undefined
  }
}

/**
 * For the walk whatever is no directory is a file, links and fifos too: they are judged and reported here. It goes
 * into no directory by a link.
 */
function readdirAsFiles(
  path: string,
  options: { readonly withFileTypes: true },
  done: (error: NodeJS.ErrnoException | null, entries?: Dirent[]) => void,
): void {
  readdir(path, options, (error, entries) => {
    for (const entry of entries ?? []) if (!entry.isDirectory()) entry.isFile = () => true
    for (const entry of entries ?? []) if (!entry.isDirectory()) entry.isSymbolicLink = () => false
    done(error, entries)
  })
}

async function statOf(path: string) {
  const stat = await lstat(path, { bigint: true })
  return {
    dev: String(stat.dev),
    ino: String(stat.ino),
    size: Number(stat.size),
    mtimeMs: Number(stat.mtimeMs),
    isFile: stat.isFile(),
  }
}

/** The directories before the first wildcard of each pattern. */
export function basesOf(patterns: readonly string[]): string[] {
  return patterns.map((pattern) => {
    let base = pattern
    while (isDynamicPattern(base)) base = dirname(base)
    return resolve(base === pattern ? dirname(base) : base)
  })
}

function isBelow(path: string, root: string): boolean {
  const way = relative(root, path)
  return way !== '' && way !== '..' && !way.startsWith(`..${sep}`) && !isAbsolute(way)
}

export function isGone(error: unknown): boolean {
  const code = codeOf(error)
  return code === 'ENOENT' || code === 'ENOTDIR'
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? 'unknown'
}
