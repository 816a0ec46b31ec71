/** A span as the `trace` verb shows it. Ids are data: they may be missing, double, or point in a circle. */
export interface TraceSpan {
  readonly id: string
  readonly parent: string
  readonly startNs: bigint
  readonly durationNs: bigint
}

export interface TreeLine<S extends TraceSpan> {
  readonly span: S
  readonly depth: number
  /** Guides of the tree: `│  ├─ `. */
  readonly guide: string
  /** Why this span stands at the top although it names a parent. */
  readonly note?: 'parent missing' | 'circle'
}

/** Deeper levels are shown at this depth, with their number. */
const MAX_GUIDES = 24

/**
 * Every span exactly once: roots by start time, children under their parents. A span whose parent is not there is a
 * root; of a circle the earliest span is. Iterative, so that a chain of any length is shown.
 */
export function traceTree<S extends TraceSpan>(spans: readonly S[]): readonly TreeLine<S>[] {
  const ordered = [...spans].sort(byStart)
  const ids = new Set(ordered.map(({ id }) => id))
  const children = childrenOf(ordered)
  const seen = new Set<S>()
  const lines: TreeLine<S>[] = []
  const walk = (root: S, note?: TreeLine<S>['note']): void => {
    const stack: Pending<S>[] = [{ span: root, depth: 0, lead: '', isLast: true }]
    for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
      const { span, depth, lead, isLast } = next
      if (seen.has(span)) continue
      seen.add(span)
      lines.push({
        span,
        depth,
        guide: guideOf(next),
        ...(depth === 0 && note !== undefined ? { note } : {}),
      })
      const below = depth === 0 ? '' : depth > MAX_GUIDES ? lead : `${lead}${isLast ? '   ' : '│  '}`
      const fresh = (children.get(span.id) ?? []).filter((child) => !seen.has(child))
      // Two spans of one id would both claim the children: the first one has them.
      children.delete(span.id)
      for (let i = fresh.length - 1; i >= 0; i--) {
        const child = fresh[i]
        if (child !== undefined) {
          stack.push({ span: child, depth: depth + 1, lead: below, isLast: i === fresh.length - 1 })
        }
      }
    }
  }
  for (const span of ordered) {
    if (span.parent === '') walk(span)
    else if (!ids.has(span.parent)) walk(span, 'parent missing')
  }
  for (const span of ordered) if (!seen.has(span)) walk(span, 'circle')
  return lines
}

interface Pending<S> {
  readonly span: S
  readonly depth: number
  readonly lead: string
  readonly isLast: boolean
}

function guideOf({ depth, lead, isLast }: Pending<unknown>): string {
  if (depth === 0) return ''
  const level = depth > MAX_GUIDES ? `[${depth}] ` : ''
  return `${lead}${isLast ? '└─ ' : '├─ '}${level}`
}

function childrenOf<S extends TraceSpan>(spans: readonly S[]): Map<string, S[]> {
  const children = new Map<string, S[]>()
  for (const span of spans) {
    if (span.parent === '') continue
    const siblings = children.get(span.parent)
    if (siblings === undefined) children.set(span.parent, [span])
    else siblings.push(span)
  }
  return children
}

function byStart(a: TraceSpan, b: TraceSpan): number {
  if (a.startNs !== b.startNs) return a.startNs < b.startNs ? -1 : 1
  return a.id < b.id ? -1 : a.id > b.id ? 1 : 0
}
