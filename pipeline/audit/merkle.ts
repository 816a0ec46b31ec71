import { createHash } from 'node:crypto'

/**
 * The Merkle tree of RFC 6962 over the log's lines, as far as appending needs it: the roots of the perfect subtrees
 * from left to right, one per set bit of the size, highest first.
 *   leaf = SHA-256(0x00 ‖ line)   node = SHA-256(0x01 ‖ left ‖ right)   root of nothing = SHA-256('')
 */
export type Frontier = readonly Buffer[]

const LEAF = Buffer.from([0])
const NODE = Buffer.from([1])

export function appendLeaf(frontier: Frontier, size: number, line: string): Frontier {
  const next = [...frontier]
  let hash: Buffer = createHash('sha256').update(LEAF).update(line).digest()
  for (let left = size; left % 2 === 1; left = Math.floor(left / 2)) {
    const sibling = next.pop()
    if (sibling === undefined) throw new Error('the frontier does not fit its size')
    hash = node(sibling, hash)
  }
  next.push(hash)
  return next
}

export function rootOf(frontier: Frontier): Buffer {
  if (frontier.length === 0) return createHash('sha256').digest()
  return frontier.reduceRight((right, left) => node(left, right))
}

function node(left: Buffer, right: Buffer): Buffer {
  return createHash('sha256').update(NODE).update(left).update(right).digest()
}

/** True when a tree of `size` leaves has that many perfect subtrees. */
export function fits(frontier: Frontier, size: number): boolean {
  let ones = 0
  for (let left = size; left > 0; left = Math.floor(left / 2)) ones += left % 2
  return frontier.length === ones && frontier.every((hash) => hash.length === 32)
}
