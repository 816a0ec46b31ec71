import { spawnSync } from 'node:child_process'
import { mkdirSync, rmSync } from 'node:fs'

/** True when the command ended with 0. */
export function runs(command: string, ...args: readonly string[]): boolean {
  return spawnSync(command, args, { stdio: 'ignore' }).status === 0
}

/**
 * A disk in a file, on which nothing is durable that was not synced: its journal commits on a sync alone. A copy of the
 * file is the disk after a power cut.
 */
export class LoopDisk {
  readonly #image: string
  readonly directory: string

  constructor(image: string, directory: string) {
    this.#image = image
    this.directory = directory
  }

  /** False where the machine does not allow it. */
  make(mib: number): boolean {
    mkdirSync(this.directory, { recursive: true })
    const made =
      runs('truncate', '-s', `${mib}M`, this.#image) &&
      runs('mkfs.ext4', '-q', '-F', '-E', 'lazy_itable_init=0,lazy_journal_init=0', this.#image)
    return made && this.#mount()
  }

  /** What a power cut would leave now. Nobody may be writing. */
  snapshot(): void {
    if (!runs('cp', '--sparse=always', this.#image, `${this.#image}.cut`))
      throw new Error('no copy of the disk')
  }

  /** The disk as it was at the snapshot, its journal replayed. Nobody may be using it. */
  revert(): void {
    if (!runs('umount', this.directory)) throw new Error(`${this.directory} is still in use`)
    if (!runs('mv', `${this.#image}.cut`, this.#image) || !this.#mount())
      throw new Error('the disk did not survive the power cut')
  }

  remove(): void {
    // What still uses it is cut off.
    runs('umount', '-l', this.directory)
    rmSync(this.#image, { force: true })
    rmSync(`${this.#image}.cut`, { force: true })
  }

  #mount(): boolean {
    return runs('mount', '-o', 'loop,commit=900,noatime', this.#image, this.directory)
  }
}
