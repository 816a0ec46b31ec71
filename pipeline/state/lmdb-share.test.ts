import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { Child } from '../../test/support/wal-child.ts'
import { EmbeddedWal } from '../wal/embedded.ts'
import { EmbeddedLog } from '../wal/embedded-log.ts'
import { openShared } from './lmdb-share.ts'

const MAX_BYTES = 1024 ** 3
/** The loss is rare (about one in a thousand openings on a busy machine); the next test shows its absence by order. */
const OPENINGS = Number(process.env['WEIR_TEST_OPENINGS'] ?? 15)

let directory: string
const children: Child<unknown>[] = []

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'weir-share-'))
})
afterEach(async () => {
  await Promise.all(children.splice(0).map((child) => child.kill()))
  await rm(directory, { recursive: true, force: true })
})

function child<Line>(what: 'append' | 'reopen'): Child<Line> {
  const started = new Child<Line>(what, { directory, maxBytes: MAX_BYTES })
  children.push(started)
  return started
}

// Found when a process that wrote ended with SIGBUS as another opened the log: a check of the file's length cut what had
// just been appended, and LMDB itself forgets a commit that falls into another's opening (ITS#9496).
it(
  'keeps what is acknowledged while other processes open and close the log',
  async () => {
    const writers = [
      child<{ id: string; seq: number }>('append'),
      child<{ id: string; seq: number }>('append'),
    ]
    const openers = [child<{ opened: number }>('reopen'), child<{ opened: number }>('reopen')]
    await Promise.all(openers.map((opener) => opener.until((lines) => lines.length >= OPENINGS)))
    await Promise.all(writers.map((writer) => writer.until((lines) => lines.length >= 300)))
    await Promise.all([...writers, ...openers].map((process) => process.kill()))
    const wal = new EmbeddedWal({ directory, maxBytes: MAX_BYTES, durability: 'process', clock: Date.now })
    await wal.open()
    const stored = new Map<string, number>()
    const port = wal.reader(0)
    const { lastSeq } = await wal.info()
    for (let seq = 0; seq < lastSeq;) {
      for (const next of await port.next(1 << 22, AbortSignal.timeout(10_000))) {
        stored.set(Buffer.from(next.bytes).toString().replace(/\.+$/, ''), next.seq)
        seq = next.seq
      }
    }
    await port.close()
    await wal.close()
    for (const { id, seq } of writers.flatMap((writer) => [...writer.lines])) expect(stored.get(id)).toBe(seq)
    expect(stored.size).toBe(lastSeq)
  },
  60_000 + OPENINGS * 500,
)

it('holds the writes of those who have it open, until it is open', async () => {
  const first = await openShared(directory, (share) => share)
  let written = false
  let opening: ReturnType<typeof openShared<typeof first & { afterTheWrite: boolean }>> | undefined
  await first.write(async () => {
    // The other waits for this write; the next one waits for the other.
    opening = openShared(directory, (share) => ({ ...share, afterTheWrite: written }))
    await new Promise((resolve) => setTimeout(resolve, 50))
    written = true
  })
  const second = (await opening)!
  expect(second.afterTheWrite).toBe(true)
  expect(await first.write(async () => 'goes on')).toBe('goes on')
  await Promise.all([first.close(async () => {}), second.close(async () => {})])
})

it('forgets those who were killed, and says who hangs', async () => {
  const killed = child<{ id: string }>('append')
  await killed.until((lines) => lines.length > 0)
  await killed.kill()
  const hanging = child<{ id: string }>('append')
  await hanging.until((lines) => lines.length > 0)
  expect((await readdir(join(directory, 'open'))).toSorted()).toHaveLength(2)
  hanging.stop()
  await expect(openShared(directory, () => undefined, 200)).rejects.toMatchObject({
    code: 'START_FAILED',
    message: expect.stringContaining(`process ${hanging.pid}, which has it open, does not answer`),
  })
  await hanging.kill()
  const share = await openShared(directory, (share) => share)
  await share.close(async () => {})
  expect(await readdir(join(directory, 'open'))).toEqual(['door'])
})

it.runIf(process.platform === 'linux')(
  'asks again who had no file descriptor left to answer with',
  async () => {
    const share = await openShared(directory, (share) => share)
    const place = join(directory, 'open')
    let asked = 0
    const busy = createServer((socket) => {
      // What libuv does with a connection at EMFILE.
      if (++asked < 3) socket.destroy()
      else socket.write('held')
    })
    await new Promise<void>((resolve) => busy.listen('\0weir-busy', resolve))
    await writeFile(join(place, '1-busy'), '')
    const second = await openShared(directory, (share) => share)
    expect(asked).toBe(3)
    expect(await readdir(place)).toContain('1-busy')
    await new Promise((resolve) => busy.close(resolve))
    await Promise.all([share.close(async () => {}), second.close(async () => {})])
  },
)

it.runIf(process.platform === 'linux')(
  'holds every write of the log, that of its next sequence too',
  async () => {
    const log = await EmbeddedLog.open({ directory, maxBytes: MAX_BYTES })
    const [file = ''] = (await readdir(join(directory, 'open'))).filter((name) => name !== 'door')
    const opener = connect(`\0weir-${file.split('-')[1]}`)
    await once(opener, 'data')
    let isDone = false
    const reserved = log.reserve(700).then(() => (isDone = true))
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect([isDone, log.lastSeq]).toEqual([false, 0])
    opener.destroy()
    await reserved
    expect(log.lastSeq).toBe(700)
    await log.close()
  },
)
