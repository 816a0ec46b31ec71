import type { Source } from './source.ts'

/** Up to `length` bytes from `position` on. */
export async function readAt(source: Source, position: number, length: number): Promise<Buffer> {
  const into = Buffer.alloc(length)
  return into.subarray(0, await source.read(position, into))
}
