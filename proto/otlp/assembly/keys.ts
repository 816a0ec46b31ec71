import { Bytes, same, zeros } from '../../assembly/bytes'
import { keyId } from './host'

/** Twice what may be interned (pipeline/batch/keys.ts), and a power of two. */
const SLOTS: u32 = 1 << 16
/** Steps along the table before the host is asked: crafted collisions cost no more than this per attribute. */
const PROBES: u32 = 16
/** Per id: where its bytes lie in `texts`, and how many there are. */
const ENTRY: usize = 8

const slots = zeros(<usize>SLOTS << 2)
const entries = new Bytes()
const texts = new Bytes()

/** The key at `at` is the one with this id. */
@inline
export function isKey(id: i32, at: usize, size: u32): bool {
  if (id <= 0) return false
  const entry = <usize>id * ENTRY
  if (entry >= <usize>entries.length) return false
  if (load<u32>(entries.start + entry, 4) !== size) return false
  return same(texts.start + load<u32>(entries.start + entry), at, size)
}

/** The id of the key at `at`; 0 where it has none. Those met before are known here. */
export function idOf(at: usize, size: u32): i32 {
  const h = hash(at, size)
  for (let i: u32 = 0; i < PROBES; i++) {
    const slot = slots + (<usize>((h + i) & (SLOTS - 1)) << 2)
    const id = load<i32>(slot)
    if (id === 0) {
      const made = keyId(at, size)
      if (made > 0) remember(made, at, size)
      if (made > 0) store<i32>(slot, made)
      return made
    }
    if (isKey(id, at, size)) return id
  }
  return keyId(at, size)
}

function remember(id: i32, at: usize, size: u32): void {
  const needed = (<usize>id + 1) * ENTRY
  const used = <usize>entries.length
  if (needed > used) {
    entries.reserve(needed - used)
    memory.fill(entries.end, 0xff, needed - used)
    entries.end = entries.start + needed
  }
  const entry = entries.start + <usize>id * ENTRY
  store<u32>(entry, texts.length)
  store<u32>(entry, size, 4)
  memory.copy(texts.reserve(size), at, size)
  texts.end += size
}

/** Over every byte, eight at a time. */
function hash(at: usize, size: u32): u32 {
  let h: u64 = size
  let i: u32 = 0
  for (; i + 8 <= size; i += 8) h = (h ^ load<u64>(at + i)) * 0x9e3779b97f4a7c15
  let rest: u64 = 0
  for (; i < size; i++) rest = (rest << 8) | load<u8>(at + i)
  h = (h ^ (h >> 29) ^ rest) * 0x9e3779b97f4a7c15
  return <u32>(h >> 40)
}
