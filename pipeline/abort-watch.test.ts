import { getEventListeners } from 'node:events'
import { expect, it } from 'vitest'
import { watch } from './abort-watch.ts'

it('calls back who still watches, once, and keeps one listener for all', () => {
  const { signal, ...controller } = withSignal()
  const heard: string[] = []
  const callbacks = ['a', 'b', 'c'].map((name) => () => void heard.push(name))
  const [, second] = callbacks.map((callback) => watch(signal, callback))
  second?.delete(callbacks[1]!)
  expect(getEventListeners(signal, 'abort')).toHaveLength(1)
  controller.abort()
  controller.abort()
  expect(heard).toEqual(['a', 'c'])
})

it('calls back at once where the signal has aborted, also one that was watched before', () => {
  const { signal, abort } = withSignal()
  const heard: number[] = []
  watch(signal, () => heard.push(1))
  abort()
  watch(signal, () => heard.push(2))
  expect(heard).toEqual([1, 2])
  watch(AbortSignal.abort(), () => heard.push(3)).delete(() => {})
  expect(heard).toEqual([1, 2, 3])
})

function withSignal() {
  const controller = new AbortController()
  return { signal: controller.signal, abort: () => controller.abort() }
}
