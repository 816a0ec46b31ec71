import { rm } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { NatsServer } from './nats.ts'
import { testPorts } from './support/ports.ts'

const NAME = 'weir-test'
/** The log and the state. */
const STREAMS = 2

interface RaftView {
  readonly leader?: string
  readonly replicas?: readonly {
    readonly name: string
    readonly current?: boolean
    readonly offline?: boolean
  }[]
}

interface Jsz {
  readonly meta_cluster?: RaftView
  readonly account_details?: readonly { readonly stream_detail?: readonly StreamView[] }[]
}

interface StreamView {
  readonly name: string
  readonly cluster?: RaftView
}

/** Three nats-servers that hold each stream in three copies. */
export class NatsCluster {
  readonly nodes: readonly NatsServer[]

  private constructor(nodes: readonly NatsServer[]) {
    this.nodes = nodes
  }

  /** Resolves once the three have a leader. */
  static async start(): Promise<NatsCluster> {
    const ports = await testPorts(3)
    const routes = ports.map((port) => `nats://127.0.0.1:${port}`).join(', ')
    const settings = (port: number, at: number): string =>
      `server_name: n${at}\ncluster { name: ${NAME}, listen: "127.0.0.1:${port}", routes: [${routes}] }`
    const nodes = await Promise.all(ports.map((port, at) => NatsServer.start(settings(port, at))))
    const cluster = new NatsCluster(nodes)
    await cluster.#until(async () => (await cluster.#meta())?.replicas?.length === 2)
    return cluster
  }

  /** For `servers: […]`. */
  get servers(): string {
    return this.nodes.map(({ url }) => url).join(', ')
  }

  /** The node that leads a stream. */
  async leaderOf(stream: string): Promise<NatsServer> {
    let leader: NatsServer | undefined
    await this.#until(async () => {
      const views = await this.#streams()
      const name = views.find((view) => view.name === stream)?.cluster?.leader
      leader = name === undefined || name === '' ? undefined : this.nodes[Number(name.slice(1))]
      return leader?.pid !== undefined
    })
    if (leader === undefined) throw new Error(`${stream} has no leader`)
    return leader
  }

  /** kill -9, and its disk is gone too where `forgets`; `meanwhile`, then it starts again. */
  async lose(node: NatsServer, forgets: boolean, meanwhile: () => Promise<void>): Promise<void> {
    await node.kill('SIGKILL')
    if (forgets) await rm(node.storeDir, { recursive: true, force: true })
    await meanwhile()
    await node.start()
  }

  /** Resolves once every copy of every stream is there and current. */
  async whole(): Promise<void> {
    await this.#until(async () => {
      const streams = await this.#streams()
      const views = [...streams.map(({ cluster }) => cluster), await this.#meta()]
      return streams.length === STREAMS && views.every((view) => view !== undefined && isWhole(view))
    })
  }

  async stop(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.stop()))
  }

  async #meta(): Promise<RaftView | undefined> {
    const pages = await this.#ask('/jsz')
    return pages.map(({ name, page }) => led(name, page.meta_cluster)).find((view) => view !== undefined)
  }

  /** Each stream as its leader sees it: others see the leader only. */
  async #streams(): Promise<StreamView[]> {
    const pages = await this.#ask('/jsz?accounts=true&streams=true')
    return pages.flatMap(({ name, page }) =>
      (page.account_details?.[0]?.stream_detail ?? []).filter(
        ({ cluster }) => led(name, cluster) !== undefined,
      ),
    )
  }

  async #ask(path: string): Promise<{ readonly name: string; readonly page: Jsz }[]> {
    const pages = this.nodes.map(async ({ pid, monitorUrl }, at) => {
      if (pid === undefined) return []
      const answer = await fetch(`${monitorUrl}${path}`).catch(() => undefined)
      return answer?.ok === true ? [{ name: `n${at}`, page: (await answer.json()) as Jsz }] : []
    })
    return (await Promise.all(pages)).flat()
  }

  async #until(is: () => Promise<boolean>, limitMs = 120_000): Promise<void> {
    const endMs = performance.now() + limitMs
    while (!(await is())) {
      if (performance.now() > endMs)
        throw new Error(`the cluster is not whole: ${JSON.stringify(await this.#streams())}`)
      await delay(50)
    }
  }
}

function led(name: string, view: RaftView | undefined): RaftView | undefined {
  return view?.leader === name ? view : undefined
}

function isWhole({ replicas = [] }: RaftView): boolean {
  return (
    replicas.length === 2 && replicas.every(({ current, offline }) => current === true && offline !== true)
  )
}
