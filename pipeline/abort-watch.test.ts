import { getEventListeners } from 'node:events'
import { expect, it } from 'vitest'
import { watchOf } from './abort-watch.ts'

it('calls back who still watches, once, and keeps one listener for all', () => {
  const { signal, ...controller } = withSignal()
  const heard: string[] = []
  const callbacks = ['a', 'b', 'c'].map((name) => () => void heard.push(name))
  for (const callback of callbacks) watchOf(signal).add(callback)
  watchOf(signal).delete(callbacks[1]!)
  expect(getEventListeners(signal, 'abort')).toHaveLength(1)
  controller.abort()
  controller.abort()
  expect(heard).toEqual(['a', 'c'])
})

it('calls back at once where the signal has aborted, also one that was watched before', () => {
  const { signal, abort } = withSignal()
  const heard: number[] = []
  watchOf(signal).add(() => heard.push(1))
  expect(watchOf(signal).isAborted).toBe(false)
  abort()
  expect(watchOf(signal).isAborted).toBe(true)
  watchOf(signal).add(() => heard.push(2))
  expect(heard).toEqual([1, 2])
  watchOf(AbortSignal.abort()).add(() => heard.push(3))
  expect(heard).toEqual([1, 2, 3])
})

it('calls back nobody who was deleted, whoever else watches', () => {
  const { signal, abort } = withSignal()
  const heard: string[] = []
  const callbacks = ['a', 'b', 'c'].map((name) => () => void heard.push(name))
  for (const callback of callbacks) watchOf(signal).add(callback)
  watchOf(signal).delete(callbacks[0]!)
  watchOf(signal).add(callbacks[0]!)
  watchOf(signal).delete(callbacks[2]!)
  abort()
  expect(heard.toSorted()).toEqual(['a', 'b'])
})

function withSignal() {
  const controller = new AbortController()
  return { signal: controller.signal, abort: () => controller.abort() }
}
