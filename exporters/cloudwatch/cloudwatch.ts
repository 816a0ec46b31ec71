import type { RejectedLogEventsInfo } from '@aws-sdk/client-cloudwatch-logs'
import type { Batch } from '../../pipeline/batch/batch.ts'
import type { Batching, Delivery, DeliveryOutcome, Exporter } from '../../pipeline/component.ts'
import type { Outcome } from '../../pipeline/consumer.ts'
import { DeliveryProgress } from '../../pipeline/delivery-progress.ts'
import type { Context } from '../../pipeline/factory.ts'
import { faultOf, retry } from '../../pipeline/fault.ts'
import { someAtOnce } from '../../pipeline/some-at-once.ts'
import { isRefusal, saidBy, unavailable } from './answer.ts'
import type { Config } from './config.ts'
import { Logs } from './logs.ts'
import { Names } from './names.ts'
import { planOf, rejection, type PutRequest, type Rejected } from './requests.ts'

/** By the place of a request, `0.1` being the second half of the first one: its end, or that it went in halves. */
type Done = Map<string, readonly Rejected[] | 'halved'>

/** Requests of one delivery under way at once. */
const AT_ONCE = 4

/** One log event per span. AWS knows no repeat: what was in flight at an uncertain end may be there twice. */
export class CloudWatchExporter implements Exporter {
  readonly batching: Batching
  readonly #config: Config
  readonly #context: Context
  readonly #names: Names
  readonly #progress = new DeliveryProgress<readonly Rejected[] | 'halved'>()
  #logs: Logs | undefined

  constructor(config: Config, context: Context) {
    this.#config = config
    this.#context = context
    this.#names = new Names(config.log_group_name, config.log_stream_name, config.max_streams)
    const { max_spans: maxSpans, max_bytes: maxBytes, max_wait: maxWaitMs } = config.batch
    this.batching = { maxSpans, maxBytes, maxWaitMs }
  }

  async start(): Promise<void> {
    this.#logs ??= await Logs.open(this.#config)
  }

  stop(): Promise<void> {
    this.#logs?.close()
    this.#logs = undefined
    return Promise.resolve()
  }

  async probe(signal: AbortSignal): Promise<void> {
    try {
      await this.#opened().probe(signal)
    } catch (error) {
      throw faultOf(error) ?? unavailable(this.#context.id, error)
    }
  }

  async consume(batch: Batch, signal: AbortSignal): Promise<Outcome> {
    const { requests, rejected } = planOf([batch], this.#names, this.#config.emf)
    const done: Done = new Map()
    await this.#sendAll(requests, done, signal)
    return { rejected: [...rejected, ...rejectedIn(done)].map((each) => each.rejection) }
  }

  async deliver(delivery: Delivery, signal: AbortSignal): Promise<DeliveryOutcome> {
    const { requests, rejected } = planOf(delivery.batches, this.#names, this.#config.emf)
    const done: Done = this.#progress.of(
      delivery,
      requests.map(({ entries }) => entries.length),
    )
    await this.#sendAll(requests, done, signal)
    this.#progress.finish(delivery)
    return { rejected: [...rejected, ...rejectedIn(done)] }
  }

  #sendAll(requests: readonly PutRequest[], done: Done, signal: AbortSignal): Promise<void> {
    return someAtOnce(requests.entries(), AT_ONCE, ([place, request]) =>
      this.#send(request, String(place), done, signal),
    )
  }

  /**
   * What AWS refuses as a whole is sent in halves, down to the event that it refuses. Throws what is worth a repeat; what
   * was taken or rejected for good is in `done`, and is not sent again.
   */
  async #send(request: PutRequest, part: string, done: Done, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    if (!done.has(part)) done.set(part, await this.#put(request, signal))
    if (done.get(part) !== 'halved') return
    const { place, entries } = request
    const half = entries.length >> 1
    await this.#send({ place, entries: entries.slice(0, half) }, `${part}.0`, done, signal)
    await this.#send({ place, entries: entries.slice(half) }, `${part}.1`, done, signal)
  }

  async #put({ place, entries }: PutRequest, signal: AbortSignal): Promise<readonly Rejected[] | 'halved'> {
    try {
      return this.#taken(entries, await this.#opened().put({ place, entries }, signal))
    } catch (error) {
      if (!isRefusal(error)) throw faultOf(error) ?? unavailable(this.#context.id, error, place)
      const [only] = entries
      if (entries.length > 1 || only === undefined) return 'halved'
      return [rejection(only, `${this.#context.id}: ${saidBy(error)}`)]
    }
  }

  #taken(entries: PutRequest['entries'], info: RejectedLogEventsInfo): Rejected[] {
    const rejected: Rejected[] = []
    let bytes = 0
    for (const [index, entry] of entries.entries()) {
      const reason = reasonOf(info, index)
      if (reason === undefined) bytes += entry.bytes
      else rejected.push(rejection(entry, `${this.#context.id}: ${reason}`))
    }
    this.#context.meter.counter('weir_cloudwatch_bytes').add(bytes, { exporter: this.#context.id })
    return rejected
  }

  #opened(): Logs {
    if (this.#logs === undefined) throw retry('EXPORT_UNAVAILABLE', `${this.#context.id}: not started`)
    return this.#logs
  }
}

function rejectedIn(done: Done): Rejected[] {
  return Array.from(done.values()).flatMap((rejected) => (rejected === 'halved' ? [] : rejected))
}

/** Why AWS left out the event at that place of a request; ends are exclusive, the start is inclusive. */
function reasonOf(info: RejectedLogEventsInfo, index: number): string | undefined {
  if (index < (info.tooOldLogEventEndIndex ?? 0))
    return 'the span began more than 14 days ago, which CloudWatch takes no more'
  if (index < (info.expiredLogEventEndIndex ?? 0))
    return 'the span began before what the retention of its log group keeps'
  if (index >= (info.tooNewLogEventStartIndex ?? Infinity))
    return 'the span begins more than 2 hours in the future, which CloudWatch does not take'
  return undefined
}
