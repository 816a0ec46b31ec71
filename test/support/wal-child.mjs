// A second process for the WAL's and the state's tests; they talk to it by lines. Runs the compiled code.
// argv: the compiled tree, what to do, its options as JSON.
import { writeSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const [dist = '', what = '', json = '{}'] = process.argv.slice(2)
const options = JSON.parse(json)
const load = (file) => import(pathToFileURL(join(dist, file)).href)
const say = (value) => writeSync(1, `${JSON.stringify(value)}\n`)
const never = new AbortController().signal

async function openWal() {
  const { EmbeddedWal } = await load('pipeline/wal/embedded.js')
  const wal = new EmbeddedWal({ ...options, durability: 'process', clock: Date.now })
  await wal.open()
  return wal
}

async function openState() {
  const { EmbeddedState } = await load('pipeline/state/embedded.js')
  const store = new EmbeddedState(options.directory)
  await store.open()
  return store
}

const deeds = {
  /** Appends for ever, 16 at a time; says each acknowledged body with its sequence. */
  async append() {
    const wal = await openWal()
    let made = 0
    const writer = async () => {
      for (;;) {
        const id = `${process.pid}-${made++}`
        const body = Buffer.from(id.padEnd(1 + ((made * 7919) % 20_000), '.'))
        const seq = await wal.append({ signal: 'traces', tenant: 'default', id, parts: [body] })
        say({ id, seq })
      }
    }
    await Promise.all(Array.from({ length: 16 }, writer))
  },

  /** Opens and closes the log for ever; says how often it has. */
  async reopen() {
    for (let opened = 1; ; opened++) {
      const wal = await openWal()
      await wal.close()
      say({ opened })
    }
  },

  /** Says the sequence of each message as it comes. */
  async read() {
    const wal = await openWal()
    const port = wal.reader(0)
    say('ready')
    for (;;) {
      for (const { seq } of await port.next(1 << 20, never)) say({ seq })
    }
  },

  /** Holds a snapshot of the file and never lets go. */
  async pin() {
    const { open } = await import('lmdb')
    const env = open({
      path: options.directory,
      noSubdir: false,
      mapSize: options.mapBytes,
      overlappingSync: false,
    })
    globalThis.pinned = env.useReadTransaction()
    say('pinned')
    setInterval(() => {}, 60_000)
  },

  /** Puts counters into the state for ever. */
  async put() {
    const { stateKey } = await load('pipeline/state/state.js')
    const store = await openState()
    for (let at = 1; ; at++) {
      await store.put(stateKey('child', `k${at % 5}`), Buffer.from(String(at)))
      say({ at })
    }
  },

  /** Holds a lease. */
  async lease() {
    const { acquireLease } = await load('pipeline/state/lease.js')
    const store = await openState()
    const skewed = () => performance.now() + (options.skewMs ?? 0)
    const lease = await acquireLease(store, options.name, `child-${process.pid}`, { clock: skewed })
    say({ fence: lease.fence })
    setInterval(() => {}, 60_000)
  },
}

await deeds[what]()
