import type { Entry, MapNode, Node } from './node.ts'

/**
 * `over` on top of `under`, as the collector merges: maps deeply, everything else is replaced, lists included.
 * A null erases the map under it (collector, confmap README "Null Maps"); `{}` does not.
 */
export function merge(under: Node, over: Node): Node {
  if (under.kind !== 'map' || over.kind !== 'map') return over
  const entries = new Map<string, Entry>(under.entries)
  for (const [key, entry] of over.entries) {
    const below = entries.get(key)
    entries.set(
      key,
      below === undefined ? entry : { origin: entry.origin, node: merge(below.node, entry.node) },
    )
  }
  const merged: MapNode = { kind: 'map', origin: over.origin, entries }
  return merged
}
