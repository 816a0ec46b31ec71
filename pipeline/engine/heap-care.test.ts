import { execFileSync } from 'node:child_process'
import { expect, it } from 'vitest'

/** In a process that does nothing else: else V8 looks for garbage anyway. Says how many MiB of garbage are left after some looks. */
const PROGRAM = `
const { careForHeap } = await import(process.argv[1])
careForHeap({ isRoomy: process.argv[2] === 'roomy', idlePoolBytes: 4 << 20 })
const before = process.memoryUsage().external
let keep = Array.from({ length: 16 }, () => Buffer.alloc(1 << 20))
let looks = 0
const look = () => {
  keep = Buffer.alloc(1 << 20)
  const left = (process.memoryUsage().external - before) / (1 << 20)
  if (left < 8 || ++looks === 15) process.stdout.write(left < 8 ? 'gone' : 'left')
  else setTimeout(look, 100)
}
setTimeout(look, 100)
`

it('with little memory, garbage outside of the heap goes long before V8 would look for it', () => {
  const module = new URL('../../dist/pipeline/engine/heap-care.js', import.meta.url).href
  const run = (memory: string) =>
    String(execFileSync(process.execPath, ['--input-type=module', '-e', PROGRAM, module, memory]))
  expect([run('little'), run('roomy')]).toEqual(['gone', 'left'])
})
