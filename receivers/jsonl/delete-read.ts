import { unlink } from 'node:fs/promises'
import type { Finder, Found } from './find.ts'
import type { Tail } from './tail.ts'

/** Deletes a file all of which is safe; false when it has grown or was replaced meanwhile. */
export async function removeRead(found: Found, tail: Tail, finder: Finder): Promise<boolean> {
  const handle = await finder.open(found)
  if (handle === undefined) return false
  try {
    const { size } = await handle.stat()
    const isWhole = size === found.size && (await tail.backlog()) === 0
    if (!isWhole) return false
    await unlink(found.path)
    return true
  } finally {
    await handle.close()
  }
}
