import { setMaxListeners } from 'node:events'
import type { Component } from '../component.ts'
import { reject, messageOf, faultOf, retry } from '../fault.ts'
import { within } from '../net/within.ts'
import type { StatusBoard } from '../status-board.ts'

/** One running thing of a process. Two nodes with the same key are the same thing: a reload keeps it as it is. */
export interface Node {
  /** `receiver:otlp`, `exporter:clickhouse`, … as `/status` and the logs say it. */
  readonly name: string
  /** `extensions`, or `pipeline:<id>` of the first pipeline that has it. */
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
      await stopAll([...started, node], AbortSignal.timeout(5000), board)
      board.set(node.name, node.group, 'StatusFatalError', messageOf(error))
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

/** Stops sources first. Never throws and ends soon after the deadline: a component that cannot stop is reported and left. */
export async function stopAll(
  nodes: readonly Node[],
  deadline: AbortSignal,
  board: StatusBoard,
): Promise<readonly string[]> {
  // One signal for all of them: ten listeners and more are no leak, and no warning to operators.
  setMaxListeners(0, deadline)
  const troubles: string[] = []
  const ranks = [...new Set(nodes.map((node) => node.rank))].toSorted((a, b) => b - a)
  for (const rank of ranks) {
    const peers = nodes.filter((node) => node.rank === rank)
    const found = await Promise.all(peers.map((node) => stopOne(node, deadline, board)))
    troubles.push(...found.filter((trouble) => trouble !== undefined))
  }
  return troubles
}

/** What a component may take beyond its deadline, to let go of what it holds. */
const GRACE_MS = 500

async function stopOne(node: Node, deadline: AbortSignal, board: StatusBoard): Promise<string | undefined> {
  board.set(node.name, node.group, 'StatusStopping')
  let trouble: string | undefined = `${node.name}: did not stop by the deadline`
  const stopping = (async () => node.component.stop?.(deadline))().then(
    () => (trouble = undefined),
    (error: unknown) => (trouble = `${node.name}: ${messageOf(error)}`),
  )
  await within(deadline, undefined, stopping)
  await within(NEVER, GRACE_MS, stopping)
  if (trouble === undefined) board.set(node.name, node.group, 'StatusStopped')
  return trouble
}

const NEVER = new AbortController().signal
setMaxListeners(0, NEVER)

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
