import { setTimeout as delay } from 'node:timers/promises'
import { faultOf, messageOf, reject, retry } from '../../pipeline/fault.ts'
import type { Log } from '../../pipeline/telemetry/log.ts'
import type { Meter } from '../../pipeline/telemetry/meter.ts'
import type { Connection, Insert, Params, Reader, Settings } from './connection.ts'
import { codeOf, judgesData } from './faults.ts'
import type { StoreKind } from './store-kind.ts'

interface Node {
  readonly address: string
  readonly connection: Connection
  failures: number
  /** By the monotonic clock: before it, another is preferred. */
  restsUntil: number
  /** Leads to the same rows as the others. */
  isVerified: boolean
  /** Why it does not. */
  differs?: string | undefined
}

export interface FailoverOptions {
  readonly exporter: string
  readonly log: Log
  readonly meter: Meter
}

const FIRST_REST_MS = 1000
const LONGEST_REST_MS = 60_000
const VERIFY_MS = 5000

/**
 * Several addresses of one store. One is used until it fails; it then rests, longer each time, and the next takes over.
 * A read goes on there at once. A write that failed is the caller's to repeat: what became of it is not known.
 */
export class Failover implements Connection {
  readonly #nodes: readonly Node[]
  readonly #options: FailoverOptions
  #at = 0
  #identify: ((connection: Connection) => Promise<StoreKind>) | undefined
  #kind: StoreKind | undefined

  constructor(connections: readonly (readonly [address: string, Connection])[], options: FailoverOptions) {
    this.#options = options
    this.#nodes = connections.map(([address, connection]) => ({
      address,
      connection,
      failures: 0,
      restsUntil: 0,
      isVerified: false,
    }))
    for (const node of this.#nodes) this.#tell(node, true)
  }

  /** From here on, an address is used only where `identify` says that it leads to the same rows. */
  async pin(identify: (connection: Connection) => Promise<StoreKind>): Promise<StoreKind> {
    const kind = await this.#read((connection) => identify(connection))
    const first = this.#nodes[this.#at] as Node
    first.isVerified = true
    this.#kind = kind
    this.#identify = identify
    await Promise.all(
      this.#nodes.map(async (node) => {
        if (node === first) return
        const error = await this.#verify(node).then(
          () => undefined,
          (why: unknown) => why,
        )
        if (error === undefined) return
        if (node.differs !== undefined || !kind.isShared) throw notAlike(node, first, error)
        this.#blame(node, error)
      }),
    )
    return kind
  }

  command(sql: string): Promise<void> {
    return this.#write((connection) => connection.command(sql))
  }

  rows(sql: string, params: Params, signal?: AbortSignal) {
    return this.#read((connection) => connection.rows(sql, params, signal), signal)
  }

  insert(insert: Insert, signal: AbortSignal): Promise<void> {
    return this.#write((connection) => connection.insert(insert, signal))
  }

  reader(settings: Settings): Promise<Reader> {
    return Promise.resolve({
      rows: (sql, params, signal) =>
        this.#read(async (connection) => {
          const reader = await connection.reader(settings)
          try {
            return await reader.rows(sql, params, signal)
          } finally {
            await reader.close()
          }
        }, signal),
      close: () => Promise.resolve(),
    })
  }

  async close(): Promise<void> {
    await Promise.all(this.#nodes.map(({ connection }) => connection.close()))
  }

  async #write(work: (connection: Connection) => Promise<void>): Promise<void> {
    const node = await this.#usable()
    try {
      await work(node.connection)
      this.#praise(node)
    } catch (error) {
      if (!judgesData(error)) this.#blame(node, error)
      throw error
    }
  }

  /** A statement that ClickHouse itself refuses is refused everywhere; one that got no answer is asked again elsewhere. */
  async #read<T>(work: (connection: Connection) => Promise<T>, signal?: AbortSignal): Promise<T> {
    for (let tried = 1; ; tried++) {
      const node = await this.#usable()
      try {
        const answer = await work(node.connection)
        this.#praise(node)
        return answer
      } catch (error) {
        if (faultOf(error) !== undefined || (codeOf(error) !== '' && !isAway(error))) throw error
        // Given up by the caller: no fault of the server's.
        if (signal?.aborted === true) throw error
        this.#blame(node, error)
        if (tried >= this.#nodes.length) throw error
      }
    }
  }

  /** The one in use; where it rests, the next that does not, else the one that has rested longest. */
  async #usable(): Promise<Node> {
    for (;;) {
      const node = this.#choose()
      if (node.isVerified || this.#identify === undefined) return node
      try {
        await this.#verify(node)
        return node
      } catch (error) {
        this.#blame(node, error)
        if (this.#nodes.every(({ restsUntil }) => restsUntil > performance.now())) {
          throw retry('EXPORT_UNAVAILABLE', `clickhouse: ${node.address}: ${messageOf(error)}`, undefined, {
            cause: error,
          })
        }
      }
    }
  }

  #choose(): Node {
    const now = performance.now()
    const count = this.#nodes.length
    const ring = Array.from({ length: count }, (_, i) => (this.#at + i) % count)
    const rest = (i: number) => (this.#nodes[i] as Node).restsUntil
    const next = ring.find((i) => rest(i) <= now) ?? ring.reduce((a, b) => (rest(b) < rest(a) ? b : a))
    if (next !== this.#at) {
      const { address } = this.#nodes[next] as Node
      this.#options.log.warn(
        { from: this.#nodes[this.#at]?.address, to: address },
        'clickhouse: another endpoint takes over',
      )
      this.#at = next
    }
    return this.#nodes[next] as Node
  }

  async #verify(node: Node): Promise<void> {
    const identify = this.#identify as (connection: Connection) => Promise<StoreKind>
    const kind = await within(VERIFY_MS, identify(node.connection))
    if (kind.same !== this.#kind?.same || kind.engine !== this.#kind.engine) {
      node.differs = `its table is another one (${kind.engine} ${kind.same}, not ${this.#kind?.engine} ${this.#kind?.same})`
      throw retry('EXPORT_UNAVAILABLE', node.differs)
    }
    node.differs = undefined
    node.isVerified = true
  }

  #praise(node: Node): void {
    if (node.failures > 0) this.#tell(node, true)
    node.failures = 0
    node.restsUntil = 0
  }

  /** Full jitter over a doubling ceiling, and never below half of it: the next one is to be tried first. */
  #blame(node: Node, error: unknown): void {
    const ceiling = Math.min(LONGEST_REST_MS, FIRST_REST_MS * 2 ** Math.min(node.failures, 10))
    node.failures++
    node.restsUntil = performance.now() + ceiling * (0.5 + Math.random() / 2)
    // After it was away it may be another server at the same address.
    node.isVerified = false
    this.#tell(node, false)
    this.#options.log.warn(
      { endpoint: node.address, error: messageOf(error) },
      'clickhouse: an endpoint fails',
    )
  }

  #tell(node: Node, isUp: boolean): void {
    const labels = { exporter: this.#options.exporter, endpoint: node.address }
    this.#options.meter.gauge('weir_clickhouse_endpoint_up').set(isUp ? 1 : 0, labels)
  }
}

/** TOO_MANY_SIMULTANEOUS_QUERIES, NETWORK_ERROR, NO_ZOOKEEPER, ABORTED, ALL_CONNECTION_TRIES_FAILED, SERVER_OVERLOADED, KEEPER_EXCEPTION: it cannot answer now. */
const AWAY: ReadonlySet<string> = new Set(['202', '209', '210', '225', '236', '279', '745', '999'])

function isAway(error: unknown): boolean {
  return AWAY.has(codeOf(error))
}

function notAlike(node: Node, first: Node, error: unknown) {
  const why = node.differs ?? messageOf(error)
  const text = `clickhouse: endpoints: ${node.address} and ${first.address} are not shown to be one store: ${why}. An insert whose answer is lost could be stored twice: list replicas of one ReplicatedMergeTree table (\`weir schema clickhouse --replicated\`), or use one endpoint`
  return node.differs === undefined
    ? retry('START_FAILED', text, undefined, { cause: error })
    : reject('START_FAILED', text, { cause: error })
}

async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  const over = new AbortController()
  const late = delay(ms, undefined, { signal: over.signal }).then(() => {
    throw retry('EXPORT_UNAVAILABLE', `no answer within ${ms} ms`)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    over.abort()
    late.catch(() => undefined)
  }
}
