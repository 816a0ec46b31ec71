import { createHash } from 'node:crypto'
import { expect, it } from 'vitest'
import { digestOf, shortDigest } from './digest.ts'

it('is the first 128 bits of SHA-256, which what is stored already was named by', () => {
  const whole = (data: string | Uint8Array) => createHash('sha256').update(data).digest()
  const bytes = Buffer.from(Array.from({ length: 1000 }, (_, at) => (at * 7) % 256))
  expect(shortDigest(bytes)).toEqual(whole(bytes).subarray(0, 16))
  expect(digestOf('a', 1, 'ü')).toEqual(whole(['a', '1', 'ü'].join('\0')).subarray(0, 16))
  expect(shortDigest('abc').toString('hex')).toBe('ba7816bf8f01cfea414140de5dae2223')
})
