import { expect, test } from 'vitest'
import { faultOf } from './fault.ts'
import { orGivenUp } from './given-up.ts'

test('is what the work comes to, well or ill', async () => {
  const { signal } = new AbortController()
  expect(await orGivenUp(signal, Promise.resolve(3))).toBe(3)
  await expect(orGivenUp(signal, Promise.reject(new Error('no')))).rejects.toThrow('no')
})

test('leaves work that does not end to itself, and its failure', async () => {
  const controller = new AbortController()
  let fail: ((error: Error) => void) | undefined
  const waiting = orGivenUp(controller.signal, new Promise<never>((_, reject) => (fail = reject)))
  controller.abort()
  expect(faultOf(await waiting.catch((error: unknown) => error))?.code).toBe('CANCELLED')
  fail?.(new Error('later'))
  const late = orGivenUp(controller.signal, new Promise(() => {}))
  expect(faultOf(await late.catch((error: unknown) => error))?.code).toBe('CANCELLED')
})
