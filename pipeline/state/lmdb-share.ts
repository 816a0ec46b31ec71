import { randomBytes } from 'node:crypto'
import { mkdirSync, readdirSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer, connect, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { Fault, messageOf, reject } from '../fault.ts'
import { within } from './deadline.ts'
import { WriteGate } from './write-gate.ts'

/**
 * Who opens an LMDB environment must not do so while another process commits to it: the opener stores the transaction
 * number that it has read a moment ago into the shared lock file, and the next commit then overwrites the latest one and
 * its pages (OpenLDAP ITS#9496, mended there, not in what lmdb 3.5.6 carries); and `checkLmdbFile` may extend a short
 * file only while nobody else does. So, in `<directory>/open/`:
 *   door            a symbolic link; its target names the socket that whoever opens or closes the environment listens on
 *                   meanwhile: one at a time
 *   <pid>-<name>    one empty file per holder; `name` is the socket on which it holds its writes for those who connect,
 *                   until they leave
 * The sockets are abstract ones on Linux, so that they end with their process whatever becomes of it; a file that nobody
 * listens for is removed. The processes must share a network namespace, as LMDB makes them share one of process ids.
 */
const PLACE = 'open'
const DOOR = 'door'
const WAIT_MS = 10_000
const AGAIN_MS = 20

interface Opening {
  readonly directory: string
  readonly place: string
  readonly waitMs: number
}

/** This process' part in an environment that it has opened. */
export interface Share {
  /** How many others had it open when this one did. */
  readonly others: number
  /** Runs `commit`, but not while another process opens the environment. */
  write<T>(commit: () => Promise<T>): Promise<T>
  /** Runs `closing` while nobody opens it, and leaves. */
  close(closing: () => Promise<void>): Promise<void>
}

/** Runs `open` while no other process writes to the environment in `directory`. START_FAILED when one of them hangs. */
export async function openShared<T>(
  directory: string,
  open: (share: Share) => T,
  waitMs = WAIT_MS,
): Promise<T> {
  try {
    const place = join(directory, PLACE)
    mkdirSync(place, { recursive: true, mode: 0o700 })
    const opening = { directory, place, waitMs }
    return await throughDoor(opening, () => openQuietly(opening, open))
  } catch (error) {
    if (error instanceof Fault) throw error
    throw reject(
      'START_FAILED',
      `cannot open ${directory}: ${messageOf(error)}. Give a directory that weir may create and write.`,
      { cause: error },
    )
  }
}

async function openQuietly<T>(opening: Opening, open: (share: Share) => T): Promise<T> {
  const others = await quiet(opening)
  try {
    const gate = new WriteGate()
    const holder = await Holder.start(opening.place, gate)
    try {
      return open({
        others: others.length,
        write: (commit) => gate.pass(commit),
        close: (closing) => leave(opening, holder, closing),
      })
    } catch (error) {
      holder.stop()
      throw error
    }
  } finally {
    for (const other of others) other.destroy()
  }
}

/** A process that ends must not wait for another that hangs in the door: then it closes all the same. */
async function leave(opening: Opening, holder: Holder, closing: () => Promise<void>): Promise<void> {
  let closed: Promise<void> | undefined
  const close = (): Promise<void> => (closed ??= closing().finally(() => holder.stop()))
  await throughDoor({ ...opening, waitMs: WAIT_MS }, close).catch(close)
}

/** Answers each connection once this process' writes are held, and holds them until it closes. */
class Holder {
  readonly #server: Server
  readonly #file: string

  private constructor(server: Server, file: string) {
    this.#server = server
    this.#file = file
  }

  static async start(place: string, gate: WriteGate): Promise<Holder> {
    const name = randomBytes(12).toString('hex')
    const server = createServer((socket) => void holdFor(socket, gate))
    await listening(server, name)
    const holder = new Holder(server, join(place, `${process.pid}-${name}`))
    try {
      writeFileSync(holder.#file, '', { mode: 0o600 })
      return holder
    } catch (error) {
      holder.stop()
      throw error
    }
  }

  stop(): void {
    this.#server.close()
    rmSync(this.#file, { force: true })
  }
}

async function holdFor(socket: Socket, gate: WriteGate): Promise<void> {
  socket.on('error', () => socket.destroy())
  const release = await gate.hold()
  if (socket.destroyed) return release()
  socket.once('close', release)
  socket.write('held')
}

/** Asks every holder to hold its writes; they do until the sockets are closed. */
async function quiet({ directory, place, waitMs }: Opening): Promise<Socket[]> {
  const held: Socket[] = []
  try {
    for (const file of readdirSync(place)) {
      if (file === DOOR) continue
      const [pid, name = ''] = file.split('-', 2)
      const givenUp = new AbortController()
      const socket = await within(waitMs, heldBy(name, givenUp.signal), () => {
        givenUp.abort()
        return hanging(directory, `process ${pid}, which has it open,`, waitMs)
      })
      if (socket === undefined) rmSync(join(place, file), { force: true }) // its process is gone
      else held.push(socket)
    }
    return held
  } catch (error) {
    for (const socket of held) socket.destroy()
    throw error
  }
}

async function throughDoor<T>({ directory, place, waitMs }: Opening, work: () => Promise<T>): Promise<T> {
  const name = doorName(place)
  const visitors = new Set<Socket>()
  const door = createServer((socket) => {
    visitors.add(socket)
    socket.on('error', () => socket.destroy())
    socket.once('close', () => visitors.delete(socket))
  })
  const until = performance.now() + waitMs
  while (!(await takes(door, name))) {
    const left = until - performance.now()
    const other = await reach(name)
    if (other === undefined) continue
    try {
      await within(left, gone(other), () =>
        hanging(directory, 'another process that opens or closes it', waitMs),
      )
    } finally {
      other.destroy()
    }
  }
  try {
    return await work()
  } finally {
    door.close()
    for (const visitor of visitors) visitor.destroy()
  }
}

/**
 * Asks one holder: the connection as long as which its writes are held, or undefined once nobody listens any more. One that
 * has no file descriptor left closes the connection unheard: it is asked again, until `givenUp`.
 */
async function heldBy(name: string, givenUp: AbortSignal): Promise<Socket | undefined> {
  while (!givenUp.aborted) {
    const socket = await reach(name)
    if (socket === undefined) return undefined
    const end = (): unknown => socket.destroy()
    givenUp.addEventListener('abort', end)
    if (givenUp.aborted) end()
    const isTaken = await isHeld(socket)
    givenUp.removeEventListener('abort', end)
    if (isTaken) return socket
    await delay(AGAIN_MS)
  }
  return undefined
}

function isHeld(socket: Socket): Promise<boolean> {
  return Promise.race([
    new Promise<boolean>((resolve) => socket.once('data', () => resolve(true))),
    gone(socket).then(() => false),
  ])
}

function gone(socket: Socket): Promise<void> {
  return new Promise((resolve) => (socket.closed ? resolve() : socket.once('close', () => resolve())))
}

function doorName(place: string): string {
  const link = join(place, DOOR)
  try {
    symlinkSync(randomBytes(12).toString('hex'), link)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
  return readlinkSync(link)
}

function hanging(directory: string, who: string, waitMs: number): Fault {
  return reject(
    'START_FAILED',
    `cannot open ${directory}: ${who} does not answer within ${waitMs / 1000} s. End the weir process that hangs and start again.`,
  )
}

async function takes(server: Server, name: string): Promise<boolean> {
  try {
    await listening(server, name)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') return false
    throw error
  }
}

async function listening(server: Server, name: string): Promise<void> {
  server.unref()
  server.listen(address(name))
  await once(server, 'listening')
  // Later ones are of single connections that could not be taken: whoever asks asks again.
  server.on('error', () => undefined)
}

/** ECONNRESET: who listened has just left. */
const NOBODY: ReadonlySet<string> = new Set(['ECONNREFUSED', 'ECONNRESET', 'ENOENT'])

/** A connection to whoever listens there; undefined when nobody does. */
async function reach(name: string): Promise<Socket | undefined> {
  const socket = connect(address(name))
  try {
    await once(socket, 'connect')
    return socket.on('error', () => socket.destroy()).resume()
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException
    if (!NOBODY.has(code)) throw error
    // A socket that is a file outlives its process.
    if (!ABSTRACT) rmSync(address(name), { force: true })
    return undefined
  }
}

const ABSTRACT = process.platform === 'linux'

function address(name: string): string {
  return ABSTRACT ? `\0weir-${name}` : join(tmpdir(), `weir-${name}.sock`)
}
