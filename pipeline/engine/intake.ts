import type { EntrySwitch } from '../entry-switch.ts'
import { retry } from '../fault.ts'
import type { StatusBoard } from '../status-board.ts'
import { EMPTY_INTAKE, type IntakeGraph } from './build-intake.ts'
import { difference, RANK, startAll, stopAll, type Node } from './node.ts'

const SWAP_MS = 10_000

const isReceiver = (node: Node): boolean => node.rank === RANK.receiver
const isExtension = (node: Node): boolean => node.rank === RANK.extension
const isBehind = (node: Node): boolean => !isReceiver(node) && !isExtension(node)

/** The components that run in the main process. `graph.nodes` are always those that run, also after a failure. */
export class Intake {
  readonly #board: StatusBoard
  readonly #isStopping: () => boolean
  readonly #held = new Set<EntrySwitch>()
  #graph: IntakeGraph = EMPTY_INTAKE
  #late: readonly Node[] = []

  constructor(board: StatusBoard, isStopping: () => boolean) {
    this.#board = board
    this.#isStopping = isStopping
  }

  get graph(): IntakeGraph {
    return this.#graph
  }

  /** Everything of `graph` but what takes data in. */
  async startSinks(graph: IntakeGraph): Promise<void> {
    this.#late = graph.nodes.filter(isReceiver)
    this.#graph = { ...graph, nodes: graph.nodes.filter((node) => !isReceiver(node)) }
    await startAll(this.#graph.nodes, this.#board)
    this.#point()
  }

  async startReceivers(): Promise<void> {
    for (const node of this.#late) await this.#startOne(node)
  }

  #point(): void {
    for (const [id, entry] of this.#graph.entries) this.#graph.switches.get(id)?.point(entry)
  }

  /**
   * Old receivers drain through the old pipelines, then requests wait while what is behind them changes. When it
   * throws, requests still wait: the caller puts things right and calls `resume`.
   */
  async swap(next: IntakeGraph): Promise<string[]> {
    const { added, removed } = difference(this.#graph.nodes, next.nodes)
    const deadline = AbortSignal.timeout(SWAP_MS)
    await this.#retire(removed.filter(isReceiver), deadline)
    if (added.some(isBehind) || removed.some(isBehind)) await this.#hold(deadline)
    await this.#retire(removed.filter(isBehind), deadline)
    for (const node of added.filter(isBehind)) await this.#startOne(node)
    this.#graph = { ...next, nodes: this.#graph.nodes }
    this.#point()
    this.resume()
    for (const node of added.filter(isReceiver)) await this.#startOne(node)
    // Not on the data's path, so nothing waits for them.
    await this.#retire(removed.filter(isExtension), AbortSignal.timeout(SWAP_MS))
    for (const node of added.filter(isExtension)) await this.#startOne(node)
    this.#board.retain(this.#graph.nodes)
    return [...added, ...removed].map((node) => node.name)
  }

  /** What runs reads its files again. */
  async refresh(): Promise<void> {
    await Promise.all(this.#graph.nodes.map(async ({ component }) => component.refresh?.()))
  }

  async #hold(deadline: AbortSignal): Promise<void> {
    const switches = [...this.#graph.switches.values()]
    for (const each of switches) this.#held.add(each)
    await Promise.all(switches.map((each) => each.pause(deadline)))
  }

  /** Lets the requests that wait go on. */
  resume(): void {
    for (const each of this.#held) each.resume()
    this.#held.clear()
  }

  async #retire(nodes: readonly Node[], deadline: AbortSignal): Promise<void> {
    await stopAll(nodes, deadline, this.#board)
    this.#graph = { ...this.#graph, nodes: this.#graph.nodes.filter((node) => !nodes.includes(node)) }
  }

  async #startOne(node: Node): Promise<void> {
    if (this.#isStopping()) throw retry('SHUTTING_DOWN', 'the daemon is stopping')
    await startAll([node], this.#board)
    this.#graph = { ...this.#graph, nodes: [...this.#graph.nodes, node] }
  }

  /** Sources first. Extensions go on, so that the stop can be watched. */
  stop(deadline: AbortSignal): Promise<readonly string[]> {
    this.resume()
    const nodes = this.#graph.nodes.filter((node) => !isExtension(node))
    return stopAll(nodes, deadline, this.#board)
  }

  stopExtensions(deadline: AbortSignal): Promise<readonly string[]> {
    return stopAll(this.#graph.nodes.filter(isExtension), deadline, this.#board)
  }
}
