import { Column, gather, gatherStrings } from './gather'
import { order } from './order'

/** A column that the host has filled. */
const foreign = new Column()

/** Room for the column. */
export function openForeign(size: u32): usize {
  foreign.clear()
  const start = foreign.reserve(size)
  foreign.end = start + size
  return start
}

/** Puts it in the order of the block, once that is finished; where it then lies. Values of `width` bytes; strings where that is 0. */
export function gatherForeign(width: u32): usize {
  if (width === 0) gatherStrings(foreign, order)
  else if (width === 1) gather<u8>(foreign, order)
  else if (width === 4) gather<u32>(foreign, order)
  else if (width === 8) gather<u64>(foreign, order)
  else gather<v128>(foreign, order)
  return foreign.body.start
}
