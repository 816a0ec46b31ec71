import { describe, expect, it } from 'vitest'
import { stateKey, type StateChange, type StateStore } from '../../pipeline/state/state.ts'

/** A place for one test: stores opened on it share what is stored. */
export interface StatePlace {
  open(): Promise<StateStore>
  /** Closes all that was opened. */
  dispose(): Promise<void>
}

const bytes = (text: string): Uint8Array => Buffer.from(text)
const text = (value: Uint8Array | undefined): string => Buffer.from(value ?? []).toString()

/** What every StateStore promises. Run by each driver's test. */
export function stateContract(name: string, place: () => Promise<StatePlace>): void {
  async function using(test: (open: () => Promise<StateStore>) => Promise<void>): Promise<void> {
    const here = await place()
    try {
      await test(() => here.open())
    } finally {
      await here.dispose()
    }
  }
  describe(`${name}: records`, () => records(using))
  describe(`${name}: races`, () => races(using))
  describe(`${name}: lists`, () => lists(using))
  describe(`${name}: lists under load`, () => listsUnderLoad(using))
  describe(`${name}: watching`, () => watching(using))
}

type Using = (test: (open: () => Promise<StateStore>) => Promise<void>) => Promise<void>

function records(using: Using): void {
  const key = stateKey('cursor', 'traces/store', 'clickhouse')

  it('creates, reads, updates and deletes, each only at its revision', () =>
    using(async (open) => {
      const store = await open()
      expect(await store.get(key)).toBeUndefined()
      const first = await store.create(key, bytes('one'))
      expect(first).toBeGreaterThan(0)
      expect(await store.create(key, bytes('again'))).toBeUndefined()
      const second = await store.update(key, bytes('two'), first!)
      expect(second).toBeGreaterThan(first!)
      expect(await store.update(key, bytes('stale'), first!)).toBeUndefined()
      expect(await store.get(key)).toMatchObject({ key, revision: second })
      expect(text((await store.get(key))?.value)).toBe('two')
      expect(await store.delete(key, first)).toBe(false)
      expect(await store.delete(key, second)).toBe(true)
      expect(await store.delete(key)).toBe(false)
      expect(await store.update(key, bytes('gone'), second!)).toBeUndefined()
      expect(await store.get(key)).toBeUndefined()
    }))

  it('never uses a revision again, not after a deletion either', () =>
    using(async (open) => {
      const store = await open()
      const revisions = [await store.create(key, bytes('1')), await store.put(key, bytes('2'))]
      expect(await store.delete(key)).toBe(true)
      revisions.push(await store.create(key, bytes('3')), await store.put(key, bytes('4')))
      expect(revisions).toEqual([...revisions].sort((a, b) => a! - b!))
      expect(new Set(revisions).size).toBe(4)
    }))

  it('forgets what lies below a prefix, its neighbours not, and takes the same keys again', () =>
    using(async (open) => {
      const store = await open()
      const at = (n: number) => stateKey('nonce', '1', `n${n}`)
      await Promise.all(Array.from({ length: 1500 }, (_, n) => store.create(at(n), bytes(''))))
      await store.put(stateKey('nonce', '10', 'x'), bytes('stays'))
      const before = await store.put(stateKey('nonce', '0', 'x'), bytes('stays'))
      await store.forget(stateKey('nonce', '1'))
      expect(await store.list(stateKey('nonce', '1'))).toEqual([])
      expect(await store.list(stateKey('nonce'))).toHaveLength(2)
      expect(await store.get(at(7))).toBeUndefined()
      expect(await store.create(at(7), bytes('anew'))).toBeGreaterThan(before)
      await store.forget(stateKey('nonce', 'none'))
    }))

  it('keeps values of 512 KiB and empty ones, and keys with escapes', () =>
    using(async (open) => {
      const store = await open()
      const large = Buffer.alloc(512 * 1024, 'x')
      const odd = stateKey('pipe/line', 'ünï.cöde *>', '', '__proto__')
      await store.put(odd, large)
      await store.put(stateKey('empty'), new Uint8Array())
      expect(Buffer.compare((await store.get(odd))?.value ?? Buffer.alloc(0), large)).toBe(0)
      expect((await store.get(stateKey('empty')))?.value).toHaveLength(0)
    }))

  it('does not see later changes of the buffer it was given', () =>
    using(async (open) => {
      const store = await open()
      const value = Buffer.from('before')
      const written = store.put(key, value)
      value.write('after!')
      await written
      expect(text((await store.get(key))?.value)).toBe('before')
    }))

  it('shares its records between two that are open at once, and keeps them', () =>
    using(async (open) => {
      const [one, two] = [await open(), await open()]
      const revision = await one.create(key, bytes('here'))
      expect(text((await two.get(key))?.value)).toBe('here')
      expect(await two.update(key, bytes('there'), revision!)).toBeGreaterThan(revision!)
      expect(text((await one.get(key))?.value)).toBe('there')
      await one.close()
      await two.close()
      const later = await open()
      expect(text((await later.get(key))?.value)).toBe('there')
    }))

  it('refuses with STATE_UNAVAILABLE when it is closed', () =>
    using(async (open) => {
      const store = await open()
      await store.close()
      await store.close()
      await expect(store.get(key)).rejects.toMatchObject({
        code: 'STATE_UNAVAILABLE',
        verdict: { do: 'retry' },
      })
    }))
}

function races(using: Using): void {
  it('lets one of eight win each create and each update', () =>
    using(async (open) => {
      const stores = [await open(), await open()]
      const writers = Array.from({ length: 8 }, (_, at) => stores[at % 2]!)
      const key = stateKey('lease', 'x')
      const created = await Promise.all(writers.map((store, at) => store.create(key, bytes(`w${at}`))))
      expect(created.filter((revision) => revision !== undefined)).toHaveLength(1)
      const revision = created.find((candidate) => candidate !== undefined)!
      const updated = await Promise.all(
        writers.map((store, at) => store.update(key, bytes(`u${at}`), revision)),
      )
      expect(updated.filter((won) => won !== undefined)).toHaveLength(1)
      const winner = updated.findIndex((won) => won !== undefined)
      expect(text((await stores[0]!.get(key))?.value)).toBe(`u${winner}`)
    }))

  it('loses no increment of eight concurrent counters', () =>
    using(async (open) => {
      const stores = [await open(), await open()]
      const key = stateKey('counter')
      await stores[0]!.create(key, bytes('0'))
      const increment = async (store: StateStore): Promise<void> => {
        for (let done = 0; done < 10;) {
          const entry = await store.get(key)
          const next = bytes(String(Number(text(entry?.value)) + 1))
          if ((await store.update(key, next, entry!.revision)) !== undefined) done++
        }
      }
      await Promise.all(Array.from({ length: 8 }, (_, at) => increment(stores[at % 2]!)))
      expect(text((await stores[0]!.get(key))?.value)).toBe('80')
    }))
}

function lists(using: Using): void {
  it('lists what is below a prefix, by whole tokens, by key', () =>
    using(async (open) => {
      const store = await open()
      const keys = [
        stateKey('a', 'b', 'c'),
        stateKey('a', 'b'),
        stateKey('ab', 'c'),
        stateKey('a', 'a-b'),
        stateKey('a', 'gone'),
      ]
      for (const key of keys) await store.put(key, bytes(key))
      await store.delete(stateKey('a', 'gone'))
      const below = await store.list(stateKey('a'))
      expect(below.map((entry) => entry.key)).toEqual(['a.a-b', 'a.b', 'a.b.c'])
      expect(below.map((entry) => text(entry.value))).toEqual(['a.a-b', 'a.b', 'a.b.c'])
      for (const entry of below) expect(entry.revision).toBe((await store.get(entry.key))?.revision)
      expect((await store.list(stateKey('a', 'b'))).map((entry) => entry.key)).toEqual(['a.b.c'])
      expect(await store.list(stateKey('nothing'))).toEqual([])
      expect((await store.list(stateKey())).map((entry) => entry.key)).toHaveLength(4)
    }))
}

function listsUnderLoad(using: Using): void {
  it('lists what is more than one answer holds', () =>
    using(async (open) => {
      const store = await open()
      const value = Buffer.alloc(400_000)
      const at = (n: number) => stateKey('large', String(n).padStart(2, '0'))
      for (let n = 0; n < 45; n++) {
        value.writeUInt32LE(n, 0)
        await store.put(at(n), value)
      }
      const found = await store.list(stateKey('large'))
      expect(found.map((entry) => Buffer.from(entry.value).readUInt32LE(0))).toEqual(
        Array.from({ length: 45 }, (_, n) => n),
      )
    }))

  it('lists each record once while they are being written', () =>
    using(async (open) => {
      const [writer, reader] = [await open(), await open()]
      const keys = Array.from({ length: 40 }, (_, at) => stateKey('load', `k${at}`))
      for (const key of keys) await writer.put(key, bytes('0'))
      const ended = new AbortController()
      const load = (async () => {
        for (let at = 0; !ended.signal.aborted; at++)
          await writer.put(keys[(at * 7) % keys.length]!, bytes(String(at)))
      })()
      const expected = [...keys].sort()
      for (let round = 0; round < 25; round++) {
        expect((await reader.list(stateKey('load'))).map((entry) => entry.key)).toEqual(expected)
      }
      ended.abort()
      await load
    }))
}

function watching(using: Using): void {
  it('tells of changes after the call, in order, the last of each key always', () =>
    using(async (open) => {
      const [writer, watcher] = [await open(), await open()]
      await writer.put(stateKey('w', 'old'), bytes('before the call'))
      const end = new AbortController()
      const changes = watcher.watch(stateKey('w'), end.signal)
      const seen: StateChange[] = []
      const finished = (async () => {
        for await (const change of changes) {
          seen.push(change)
          if (change.key === stateKey('w', 'end')) end.abort()
        }
      })()
      await watchReady(watcher, writer)
      for (let at = 0; at < 20; at++) await writer.put(stateKey('w', `k${at % 4}`), bytes(`v${at}`))
      await writer.put(stateKey('wx', 'other'), bytes('not below'))
      await writer.delete(stateKey('w', 'k0'))
      await writer.put(stateKey('w', 'end'), bytes('end'))
      await finished
      const revisions = seen.map((change) => change.revision)
      expect(revisions).toEqual([...revisions].sort((a, b) => a - b))
      expect(seen.map((change) => change.key)).not.toContain(stateKey('w', 'old'))
      expect(seen.every((change) => change.key.startsWith('w.'))).toBe(true)
      const last = new Map(seen.map((change) => [change.key, change.value && text(change.value)]))
      expect(Object.fromEntries(last)).toEqual({
        'w.k0': undefined,
        'w.k1': 'v17',
        'w.k2': 'v18',
        'w.k3': 'v19',
        'w.end': 'end',
      })
    }))

  it('ends a watch that is aborted or whose store is closed', () =>
    using(async (open) => {
      const store = await open()
      const end = new AbortController()
      const aborted = drain(store.watch(stateKey('w'), end.signal))
      const closed = drain(store.watch(stateKey('w'), new AbortController().signal))
      end.abort()
      await aborted
      await store.close()
      await closed
    }))
}

/** A watch over the wire begins a moment after the call; one change seen through it says it has. */
async function watchReady(watcher: StateStore, writer: StateStore): Promise<void> {
  const end = new AbortController()
  const first = (async () => {
    for await (const change of watcher.watch(stateKey('ready'), end.signal)) return change
    return undefined
  })()
  const beat = setInterval(() => void writer.put(stateKey('ready', 'x'), bytes('.')), 20)
  await first
  clearInterval(beat)
  end.abort()
}

async function drain(changes: AsyncIterable<StateChange>): Promise<void> {
  for await (const _ of changes) {
    // only its end matters
  }
}
