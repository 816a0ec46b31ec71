import type { Node } from './node.ts'

/** The nodes of a graph that is being built: each key is made once, and taken over where it is running already. */
export class NodeSet {
  readonly #running: ReadonlyMap<string, Node>
  readonly #nodes = new Map<string, Node>()

  constructor(running: readonly Node[]) {
    this.#running = new Map(running.map((node) => [node.key, node]))
  }

  get all(): readonly Node[] {
    return [...this.#nodes.values()]
  }

  isRunning(key: string): boolean {
    return this.#running.has(key)
  }

  /** `configKey`: equal where a reload keeps the node as it is. The code of what is new is loaded. */
  async make<Maker>(
    name: string,
    group: string,
    rank: number,
    configKey: string,
    factory: { load(): Promise<Maker> },
    create: (maker: Maker) => Node['component'],
  ): Promise<Node> {
    const key = `${name}:${configKey}`
    const node = this.#nodes.get(key) ??
      this.#running.get(key) ?? { name, group, key, rank, component: create(await factory.load()) }
    this.#nodes.set(key, node)
    return node
  }
}
