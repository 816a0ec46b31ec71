import type { Batch } from '../../pipeline/batch/batch.ts'
import type { Batching, Delivery, DeliveryOutcome, Exporter } from '../../pipeline/component.ts'
import type { Outcome } from '../../pipeline/consumer.ts'
import { DeliveryProgress } from '../../pipeline/delivery-progress.ts'
import type { Context } from '../../pipeline/factory.ts'
import { Cluster, unavailable } from './cluster.ts'
import type { Config } from './config.ts'
import { documentsOf, type Document } from './document.ts'

type Rejected = DeliveryOutcome['rejected'][number]

/** One document of a bulk request: an action and a source, each on its line. */
interface Entry {
  readonly batch: number
  readonly row: number
  readonly lines: Buffer
}

const DAY_MS = 86_400_000
/** A span that says it is older than this, or of tomorrow's morrow, gets the index of its receipt. */
const OLDEST_MS = 366 * DAY_MS

/** Documents in daily indexes, `_id` = `EventId`: whatever is sent again writes the same document. */
export class ElasticsearchExporter implements Exporter {
  readonly batching: Batching
  readonly #config: Config
  readonly #context: Context
  readonly #progress = new DeliveryProgress<readonly Rejected[]>()
  #cluster: Cluster | undefined

  constructor(config: Config, context: Context) {
    this.#config = config
    this.#context = context
    const { max_spans: maxSpans, max_bytes: maxBytes, max_wait: maxWaitMs } = config.batch
    this.batching = { maxSpans, maxBytes, maxWaitMs }
  }

  async start(): Promise<void> {
    this.#cluster ??= await Cluster.open(this.#config)
  }

  stop(): Promise<void> {
    this.#cluster?.close()
    this.#cluster = undefined
    return Promise.resolve()
  }

  async probe(signal: AbortSignal): Promise<void> {
    await this.#open().version(signal)
  }

  async consume(batch: Batch, signal: AbortSignal): Promise<Outcome> {
    const rejected: Rejected[] = []
    for (const request of this.#requests([batch])) rejected.push(...(await this.#send(request, signal)))
    return { rejected: rejected.map(({ rejection }) => rejection) }
  }

  async deliver(delivery: Delivery, signal: AbortSignal): Promise<DeliveryOutcome> {
    const requests = this.#requests(delivery.batches)
    const done = this.#progress.of(
      delivery,
      requests.map(({ length }) => length),
    )
    for (const [index, request] of requests.entries()) {
      const place = String(index)
      if (!done.has(place)) done.set(place, await this.#send(request, signal))
    }
    this.#progress.finish(delivery)
    return { rejected: Array.from(done.values()).flat() }
  }

  /** Throws what is worth a repeat: what is there already is written again as it is. */
  async #send(request: readonly Entry[], signal: AbortSignal): Promise<Rejected[]> {
    const body = Buffer.concat(request.map(({ lines }) => lines))
    const answer = await this.#open().bulk(body, request.length, signal)
    if (answer.is === 'later') throw unavailable(answer.message, answer.afterMs)
    if (answer.is === 'taken') {
      return Array.from(answer.rejected, ([place, reason]) => rejection(request[place] as Entry, reason))
    }
    const [only] = request
    if (request.length === 1 && only !== undefined) return [rejection(only, answer.message)]
    const half = request.length >> 1
    const first = await this.#send(request.slice(0, half), signal)
    return [...first, ...(await this.#send(request.slice(half), signal))]
  }

  #requests(batches: readonly Batch[]): Entry[][] {
    const { max_spans: maxSpans, max_bytes: maxBytes } = this.#config.batch
    const requests: Entry[][] = []
    let open: Entry[] = []
    let bytes = 0
    for (const [index, batch] of batches.entries()) {
      for (const document of documentsOf(batch)) {
        const entry = { batch: index, row: document.row, lines: this.#lines(document, batch) }
        if (open.length >= maxSpans || (open.length > 0 && bytes + entry.lines.length > maxBytes)) {
          requests.push(open)
          open = []
          bytes = 0
        }
        open.push(entry)
        bytes += entry.lines.length
      }
    }
    return open.length === 0 ? requests : [...requests, open]
  }

  #lines({ id, startMs, source }: Document, { meta }: Batch): Buffer {
    const action = { index: { _index: this.#indexOf(startMs, meta.receivedAtMs), _id: id } }
    return Buffer.from(`${JSON.stringify(action)}\n${JSON.stringify(source)}\n`)
  }

  /** By the span's own time, so that a repeat finds the document; wild times must not make an index each. */
  #indexOf(startMs: number, receivedAtMs: number): string {
    const { traces_index: index, logstash_format: daily } = this.#config
    if (!daily.enabled) return index
    const isWild = startMs < receivedAtMs - OLDEST_MS || startMs > receivedAtMs + 2 * DAY_MS
    const day = new Date(isWild ? receivedAtMs : startMs).toISOString().slice(0, 10).replaceAll('-', '.')
    return `${index}${daily.prefix_separator}${day}`
  }

  #open(): Cluster {
    if (this.#cluster === undefined) throw unavailable(`${this.#context.id} is not started`)
    return this.#cluster
  }
}

function rejection({ batch, row }: Entry, reason: string): Rejected {
  return { batch, rejection: { rows: [row], reason } }
}
