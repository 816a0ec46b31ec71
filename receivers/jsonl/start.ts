import { encodingOf } from './encoding.ts'
import type { JsonlConfig } from './config.ts'
import { tailOf, TAIL_BYTES } from './fingerprint.ts'
import { lastLineEnd } from './lines.ts'
import { readAt } from './read-at.ts'
import type { Source } from './source.ts'

/**
 * Where `start_at: end` begins: behind the last whole line, so that one which is being written is read whole. Of an
 * archive its end. `tail` is the hash of what stands before, as in a checkpoint.
 */
export async function newestLineStart(
  source: Source,
  config: JsonlConfig,
  head: Buffer,
): Promise<{ readonly offset: number; readonly tail: string }> {
  const size = (await source.size()) ?? (await lengthOf(source))
  const { newline } = encodingOf(config.encoding, head)
  const from = Math.max(0, size - config.max_log_size - TAIL_BYTES) & ~1
  const bytes = await readAt(source, from, size - from)
  const end = lastLineEnd(bytes, 0, bytes.length, newline)
  // No newline within reach: the line that goes on is over the limit anyway.
  const at = end === 0 && from > 0 ? bytes.length : end
  return { offset: from + at, tail: tailOf(bytes, at) }
}

async function lengthOf(source: Source): Promise<number> {
  const buffer = Buffer.alloc(64 * 1024)
  for (let position = 0; ;) {
    const read = await source.read(position, buffer)
    if (read === 0) return position
    position += read
  }
}
