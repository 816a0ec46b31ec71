import type { Path } from '../pipeline/input/path.ts'

/** The document between YAML and schemas: plain kinds, each value knowing where it was written. */

export interface Origin {
  readonly file: string
  /** 1-based; 0 where a file has no lines (`--set`). */
  readonly line: number
  readonly col: number
}

interface Placed {
  readonly origin: Origin
  /** The raw text when the value came whole from a reference or `--set`: a string-typed field keeps it. */
  readonly text?: string
  /** A reference in it failed and was reported: nothing else is said of this value. */
  readonly broken?: boolean
}

export interface MapNode extends Placed {
  readonly kind: 'map'
  readonly entries: ReadonlyMap<string, Entry>
}

export interface ListNode extends Placed {
  readonly kind: 'list'
  readonly items: readonly Node[]
}

export interface ScalarNode extends Placed {
  readonly kind: 'scalar'
  readonly value: string | number | boolean | null
}

export type Node = MapNode | ListNode | ScalarNode

export interface Entry {
  /** Where the key stands. */
  readonly origin: Origin
  readonly node: Node
}

/** Where to point for `path`: the value or its key; for what is absent the nearest thing that contains it. */
export function locate(root: Node, path: Path, at: 'key' | 'value'): Origin {
  let node = root
  let origin = root.origin
  for (const [index, part] of path.entries()) {
    const isLast = index === path.length - 1
    if (node.kind === 'map') {
      const entry = node.entries.get(String(part))
      if (entry === undefined) return origin
      // A block map's own position is its first key, which would point at the wrong line.
      origin = isLast && at === 'value' && entry.node.kind !== 'map' ? entry.node.origin : entry.origin
      node = entry.node
    } else if (node.kind === 'list') {
      const item = node.items[Number(part)]
      if (item === undefined) return origin
      node = item
      origin = item.origin
    } else {
      return origin
    }
  }
  return origin
}

/** Whether `path` lies at or below a value whose reference failed. */
export function isBroken(root: Node, path: Path): boolean {
  let node: Node | undefined = root
  for (const part of path) {
    if (node === undefined || node.broken === true) break
    if (node.kind === 'map') node = node.entries.get(String(part))?.node
    else if (node.kind === 'list') node = node.items[Number(part)]
    else node = undefined
  }
  return node?.broken === true
}
