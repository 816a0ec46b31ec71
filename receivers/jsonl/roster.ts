import { randomBytes } from 'node:crypto'
import { TAIL_BYTES, beginner, fingerprintOf } from './fingerprint.ts'
import type { Checkpoint, Stored } from './checkpoint.ts'
import type { Finder, Found } from './find.ts'
import { sourceOf, type Source } from './source.ts'
import { Tail, type TailServices } from './tail.ts'
import { readAt } from './read-at.ts'
import { newestLineStart } from './start.ts'

/** A file that is known: where it was read to, and where it is now, if anywhere. */
export interface Known {
  stored: Stored
  /** Undefined: nobody sees it; its record waits for the file to turn up under another name. */
  found: Found | undefined
  tail: Tail | undefined
  /** Since when it is gone from its path while it is still read through its handle. */
  goneMs: number | undefined
  /** Size and change time when there was nothing left to read, or nothing that could be. */
  finishedAt: string | undefined
  /** When it last gave something. */
  usedMs: number
}

export type Rotation = 'renamed' | 'truncated' | 'gone'

export interface RosterEvents {
  readonly onRotation: (kind: Rotation, path: string) => void
  readonly onDamaged: (path: string) => void
}

/** Knows files by inode while they stay, and by how they begin and what was read last when they do not. */
export class Roster {
  readonly #services: TailServices
  readonly #finder: Finder
  readonly #events: RosterEvents
  readonly #known = new Set<Known>()
  /** Files that look like a copy of one that is still read: `stamp` when they were looked at. */
  readonly #copies = new Map<string, { readonly stamp: string; readonly of: Known }>()
  readonly #damaged = new Map<string, string>()

  constructor(services: TailServices, finder: Finder, events: RosterEvents) {
    this.#services = services
    this.#finder = finder
    this.#events = events
  }

  get all(): Iterable<Known> {
    return this.#known
  }

  add(stored: Stored): Known {
    const known: Known = {
      stored,
      found: undefined,
      tail: undefined,
      goneMs: undefined,
      finishedAt: undefined,
      usedMs: 0,
    }
    this.#known.add(known)
    return known
  }

  forget(known: Known): void {
    this.#known.delete(known)
  }

  /** Brings what is known in line with what is there. `skipOld`: what nobody knows is old, and its end is its start. */
  async meet(files: readonly Found[], skipOld: boolean, nowMs: number): Promise<void> {
    const here = new Map<string, Known>()
    for (const known of this.#known)
      if (known.found !== undefined || known.tail !== undefined) here.set(inodeOf(known), known)
    const seen = new Set<Known>()
    const strangers: Found[] = []
    const inodes = new Set<string>()
    for (const file of files) {
      const inode = `${file.dev}:${file.ino}`
      if (inodes.has(inode)) continue
      inodes.add(inode)
      const known = here.get(inode)
      if (known !== undefined && this.#mayBe(known, file)) {
        if (known.found === undefined || known.found.path !== file.path) this.#moved(known, file)
        known.found = file
        known.goneMs = undefined
        seen.add(known)
      } else {
        if (known !== undefined) await this.replaced(known)
        strangers.push(file)
      }
    }
    for (const known of this.#known)
      if (known.found !== undefined && !seen.has(known)) await this.#gone(known, nowMs)
    for (const file of strangers) {
      await this.#meetStranger(file, skipOld, nowMs)
      await this.makeRoom()
    }
    this.#tidy(inodes)
  }

  #mayBe(known: Known, file: Found): boolean {
    return this.isArchive(file.path) || file.size >= (known.tail?.offset ?? known.stored.checkpoint.offset)
  }

  #moved(known: Known, file: Found): void {
    known.finishedAt = undefined
    if (known.stored.checkpoint.path !== file.path) this.#events.onRotation('renamed', file.path)
  }

  async #gone(known: Known, nowMs: number): Promise<void> {
    this.#events.onRotation('gone', known.stored.checkpoint.path)
    known.found = undefined
    if (known.tail === undefined) return
    known.goneMs = nowMs
    known.usedMs = nowMs
  }

  /** It is another file by now: what was known waits for a copy of the old one. */
  async replaced(known: Known): Promise<void> {
    this.#events.onRotation('truncated', known.stored.checkpoint.path)
    known.found = undefined
    await this.close(known)
  }

  async close(known: Known): Promise<void> {
    const { tail } = known
    known.tail = undefined
    known.goneMs = undefined
    if (tail === undefined) return
    try {
      await tail.save()
    } finally {
      known.stored = tail.stored
      await tail.close()
    }
  }

  /** Opens what is known to be there; undefined when it is another file by now, or gone. */
  async open(known: Known): Promise<Tail | undefined> {
    if (known.tail !== undefined || known.found === undefined) return known.tail
    const handle = await this.#finder.open(known.found)
    if (handle === undefined) return undefined
    const source = sourceOf(handle, this.isArchive(known.found.path))
    const tail = await orClose(source, () => Tail.open(this.#services, source, known.stored))
    if (tail === undefined) {
      await source.close()
      await this.replaced(known)
    }
    known.tail = tail
    return tail
  }

  /** Closes what gave nothing for longest while too many files are open; what is gone from its path stays. */
  async makeRoom(): Promise<void> {
    const open = [...this.#known].filter((known) => known.tail !== undefined)
    const over = open.length - this.#services.config.max_concurrent_files
    if (over <= 0) return
    const idle = open.filter((known) => known.found !== undefined).sort((a, b) => a.usedMs - b.usedMs)
    for (const known of idle.slice(0, over)) await this.close(known)
  }

  isArchive(path: string): boolean {
    const { compression } = this.#services.config
    return compression === 'gzip' || (compression === 'auto' && path.endsWith('.gz'))
  }

  async #meetStranger(file: Found, skipOld: boolean, nowMs: number): Promise<void> {
    const inode = `${file.dev}:${file.ino}`
    if (file.size === 0 || this.#isSettled(inode, file)) return
    const handle = await this.#finder.open(file)
    if (handle === undefined) return
    const source = sourceOf(handle, this.isArchive(file.path))
    const kept = await orClose(source, () => this.#recognise(file, source, skipOld, nowMs))
    if (!kept) await source.close()
  }

  #isSettled(inode: string, file: Found): boolean {
    const stamp = stampOf(file)
    const copy = this.#copies.get(inode)
    if (copy?.stamp === stamp && isRead(copy.of)) return true
    return this.#damaged.get(inode) === stamp
  }

  /** True when the source was taken over. */
  async #recognise(file: Found, source: Source, skipOld: boolean, nowMs: number): Promise<boolean> {
    const { config } = this.#services
    const inode = `${file.dev}:${file.ino}`
    let head: Buffer
    try {
      head = await readAt(source, 0, config.fingerprint_size)
    } catch {
      this.#damaged.set(inode, stampOf(file))
      this.#events.onDamaged(file.path)
      return false
    }
    if (head.length === 0) return false
    const isAlike = beginner(head)
    const alike = [...this.#known].filter((known) => isAlike(known.stored.checkpoint.fingerprint))
    if (await this.#continues(alike, file, source)) return true
    for (const known of alike) {
      const verdict = isRead(known) ? await this.#compare(file, source, head, known) : 'other'
      if (verdict === 'copy') this.#copies.set(inode, { stamp: stampOf(file), of: known })
      if (verdict !== 'other') return false
    }
    const isOld = config.exclude_older_than !== undefined && nowMs - file.mtimeMs > config.exclude_older_than
    if (isOld) return false
    const atEnd = skipOld && config.start_at === 'end'
    const known = await this.#create(file, source, head, atEnd, nowMs)
    known.tail = await Tail.open(this.#services, source, known.stored)
    return known.tail !== undefined
  }

  /** The file of a record that nobody sees any more: after a restart, or a rotation by copy. */
  async #continues(alike: readonly Known[], file: Found, source: Source): Promise<boolean> {
    const same = (known: Known) => Number(known.stored.checkpoint.ino === file.ino)
    const orphans = alike.filter((known) => !isRead(known)).sort((a, b) => same(b) - same(a) || newer(a, b))
    for (const known of orphans) {
      const { checkpoint } = known.stored
      const needed = checkpoint.frozen?.to ?? checkpoint.offset
      const isShort = checkpoint.fingerprint.length < this.#services.config.fingerprint_size
      // A file that was made anew at the same place often begins as the old one did.
      if (isShort && checkpoint.ino !== file.ino && checkpoint.path === file.path) continue
      if (!this.isArchive(file.path) && file.size < needed) continue
      const tail = await Tail.open(this.#services, source, known.stored)
      if (tail === undefined) continue
      if (checkpoint.path !== file.path) this.#events.onRotation('renamed', file.path)
      known.tail = tail
      known.found = file
      known.finishedAt = undefined
      return true
    }
    return false
  }

  /**
   * `copy`: it holds nothing that the file which is still read does not hold at the same place. `later`: that one has
   * just been truncated or replaced, so that this may be what it was; the next look knows.
   */
  async #compare(
    file: Found,
    source: Source,
    head: Buffer,
    original: Known,
  ): Promise<'copy' | 'other' | 'later'> {
    // An archive is made from a file that is still there; how long it will be nobody knows yet.
    if (this.isArchive(file.path)) return 'copy'
    const tail = await this.open(original)
    if (tail === undefined) return 'later'
    const from = Math.max(0, file.size - TAIL_BYTES)
    const end = await readAt(source, from, file.size - from)
    if ((await tail.holds(0, head)) && (await tail.holds(from, end))) return 'copy'
    return (await tail.isSame()) ? 'other' : 'later'
  }

  async #create(file: Found, source: Source, head: Buffer, atEnd: boolean, nowMs: number): Promise<Known> {
    const { config, checkpoints } = this.#services
    const start = atEnd ? await newestLineStart(source, config, head) : { offset: 0, tail: '' }
    const checkpoint: Checkpoint = {
      v: 1,
      id: randomBytes(16).toString('hex'),
      path: file.path,
      dev: file.dev,
      ino: file.ino,
      fingerprint: fingerprintOf(head),
      ...start,
      seenMs: nowMs,
    }
    const known = this.add(await checkpoints.create(checkpoint))
    known.found = file
    return known
  }

  #tidy(inodes: ReadonlySet<string>): void {
    for (const inode of this.#copies.keys()) if (!inodes.has(inode)) this.#copies.delete(inode)
    for (const inode of this.#damaged.keys()) if (!inodes.has(inode)) this.#damaged.delete(inode)
  }
}

function isRead(known: Known): boolean {
  return known.found !== undefined || known.tail !== undefined
}

function inodeOf({ found, stored }: Known): string {
  const { dev, ino } = found ?? stored.checkpoint
  return `${dev}:${ino}`
}

export function stampOf(file: Found): string {
  return `${file.size}:${file.mtimeMs}`
}

function newer(a: Known, b: Known): number {
  return b.stored.checkpoint.seenMs - a.stored.checkpoint.seenMs
}

async function orClose<T>(source: Source, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    await source.close()
    throw error
  }
}
