import { expect, test } from 'vitest'
import { Fault, retry } from '../fault.ts'
import { Rpc, type Channel } from './rpc.ts'

type Calls = {
  readonly double: { readonly takes: number; readonly gives: number }
  readonly fail: { readonly takes: null; readonly gives: null }
  readonly never: { readonly takes: null; readonly gives: null }
}

/** Two ends of a channel that delivers in later turns, as a process channel does. */
function pair(): { a: Channel; b: Channel; close: () => void } {
  const closers: (() => void)[] = []
  const ends = [0, 1].map(() => ({ listener: undefined as ((message: unknown) => void) | undefined }))
  const end = (mine: number): Channel => ({
    send: (message) => void setImmediate(() => ends[1 - mine]?.listener?.(structuredClone(message))),
    onMessage: (listener) => void (ends[mine]!.listener = listener),
    onClose: (listener) => void closers.push(listener),
  })
  return { a: end(0), b: end(1), close: () => closers.forEach((each) => each()) }
}

const handlers = {
  double: (value: number) => value * 2,
  fail: () => {
    throw retry('WAL_FULL', 'the disk is full', 250)
  },
  never: () => new Promise(() => undefined),
}

test('answers are matched to their requests', async () => {
  const { a, b } = pair()
  void new Rpc(b, handlers)
  const rpc = new Rpc<Calls>(a, {})
  expect(await Promise.all([1, 2, 3].map((value) => rpc.call('double', value, 1000)))).toEqual([2, 4, 6])
})

test('a Fault crosses with its code and verdict', async () => {
  const { a, b } = pair()
  void new Rpc(b, handlers)
  const error = await new Rpc<Calls>(a, {}).call('fail', null, 1000).catch((thrown: unknown) => thrown)
  expect(error).toBeInstanceOf(Fault)
  expect(error).toMatchObject({
    code: 'WAL_FULL',
    message: 'the disk is full',
    verdict: { do: 'retry', afterMs: 250 },
  })
})

test('a request without an answer ends at its deadline, retryably', async () => {
  const { a, b } = pair()
  void new Rpc(b, handlers)
  const call = new Rpc<Calls>(a, {}).call('never', null, 10)
  await expect(call).rejects.toMatchObject({ code: 'CANCELLED', verdict: { do: 'retry' } })
})

test('a closed channel fails what is pending and what comes after', async () => {
  const { a, b, close } = pair()
  void new Rpc(b, handlers)
  const rpc = new Rpc<Calls>(a, {})
  const pending = rpc.call('never', null, 60_000)
  close()
  await expect(pending).rejects.toMatchObject({ code: 'EXPORT_UNAVAILABLE' })
  await expect(rpc.call('double', 1, 1000)).rejects.toMatchObject({ code: 'EXPORT_UNAVAILABLE' })
})
