import { expect, it } from 'vitest'
import type { Entry, Head } from './admission.ts'
import type { Batch } from './batch/batch.ts'
import { ACCEPTED, type Outcome } from './consumer.ts'
import { EntrySwitch } from './entry-switch.ts'

const NEVER = new AbortController().signal
const batch = {} as Batch
/** Everything that can go on has gone on. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** An entry that says its name and ends each batch when told. */
function target(name: string, order: string[]) {
  const open: (() => void)[] = []
  const entry: Entry = {
    admit: (head: Head) => Promise.reject(new Error(`${name} ${head.path}`)),
    consume: () => {
      order.push(name)
      return new Promise<Outcome>((resolve) => open.push(() => resolve(ACCEPTED)))
    },
  }
  return { entry, finish: () => open.splice(0).forEach((end) => end()) }
}

it('waits for what is in flight, holds the rest back, and sends it to the new target', async () => {
  const order: string[] = []
  const [before, after] = [target('old', order), target('new', order)]
  const entry = new EntrySwitch()
  entry.point(before.entry)
  const first = entry.consume(batch, NEVER)
  await expect.poll(() => order).toEqual(['old'])
  const paused = entry.pause(NEVER).then(() => order.push('paused'))
  const second = entry.consume(batch, NEVER)
  await turn()
  expect(order).toEqual(['old'])
  before.finish()
  await paused
  expect(order).toEqual(['old', 'paused'])
  entry.point(after.entry)
  entry.resume()
  await expect.poll(() => order).toEqual(['old', 'paused', 'new'])
  after.finish()
  await Promise.all([first, second])
})

it('holds requests by their head too, and through a second pause before they had their turn', async () => {
  const entry = new EntrySwitch()
  entry.point(target('old', []).entry)
  await entry.pause(NEVER)
  const admitted = entry.admit({ path: '/a' } as Head)
  entry.resume()
  await entry.pause(NEVER)
  await turn()
  entry.point(target('new', []).entry)
  entry.resume()
  await expect(admitted).rejects.toThrow('new /a')
})

it('does not wait for a stuck batch beyond the deadline', async () => {
  const entry = new EntrySwitch()
  entry.point(target('stuck', []).entry)
  void entry.consume(batch, NEVER)
  const deadline = new AbortController()
  const paused = entry.pause(deadline.signal)
  deadline.abort()
  await paused
})

it('tells senders to come again before it has a target', async () => {
  await expect(new EntrySwitch().consume(batch, NEVER)).rejects.toMatchObject({ verdict: { do: 'retry' } })
})
