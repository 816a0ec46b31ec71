import type { Component } from '../component.ts'
import { reject, messageOf, faultOf, retry } from '../fault.ts'
import type { StatusBoard } from '../status-board.ts'

/** One running thing of a process. Two nodes with the same key are the same thing: a reload keeps it as it is. */
export interface Node {
  /** `receiver:otlp`, `exporter:clickhouse`, … as `/status` and the logs say it. */
  readonly name: string
  /** `extensions`, `pipeline:traces/ingest`, `connectors`, `exporters`, `receivers`. */
  readonly group: string
  readonly key: string
  /** Sinks have low ranks and start first; sources have high ranks and stop first. */
  readonly rank: number
  readonly component: Component
}

export const RANK = { extension: 0, exporter: 1, connector: 2, processor: 3, receiver: 4 } as const

/** Starts in order of rank; when one fails the ones already started are stopped and the Fault names it. */
export async function startAll(nodes: readonly Node[], board: StatusBoard): Promise<void> {
  const ordered = nodes.toSorted((a, b) => a.rank - b.rank)
  const started: Node[] = []
  for (const node of ordered) {
    board.set(node.name, node.group, 'StatusStarting')
    try {
      await node.component.start?.()
    } catch (error) {
      board.set(node.name, node.group, 'StatusFatalError', messageOf(error))
      await stopAll([...started, node], AbortSignal.timeout(5000), board)
      throw startFault(node, error)
    }
    board.set(node.name, node.group, 'StatusOK')
    started.push(node)
  }
}

function startFault(node: Node, error: unknown) {
  const message = `${node.name} did not start: ${messageOf(error)}`
  const again = faultOf(error)?.verdict.do === 'retry'
  return again
    ? retry('START_FAILED', message, undefined, { cause: error })
    : reject('START_FAILED', message, { cause: error })
}

/** Stops sources first. Never throws: a component that cannot stop is reported and left. */
export async function stopAll(
  nodes: readonly Node[],
  deadline: AbortSignal,
  board: StatusBoard,
): Promise<readonly string[]> {
  const troubles: string[] = []
  const ranks = [...new Set(nodes.map((node) => node.rank))].toSorted((a, b) => b - a)
  for (const rank of ranks) {
    await Promise.all(
      nodes
        .filter((node) => node.rank === rank)
        .map(async (node) => {
          board.set(node.name, node.group, 'StatusStopping')
          try {
            await node.component.stop?.(deadline)
            board.set(node.name, node.group, 'StatusStopped')
          } catch (error) {
            troubles.push(`${node.name}: ${messageOf(error)}`)
          }
        }),
    )
  }
  return troubles
}

/** What of `next` is new against `current`, and what of `current` is gone; the rest is the same component. */
export function difference(
  current: readonly Node[],
  next: readonly Node[],
): { added: Node[]; removed: Node[] } {
  const before = new Set(current.map((node) => node.key))
  const after = new Set(next.map((node) => node.key))
  return {
    added: next.filter((node) => !before.has(node.key)),
    removed: current.filter((node) => !after.has(node.key)),
  }
}
