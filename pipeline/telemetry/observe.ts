import type { Entry, Head } from '../admission.ts'
import type { Batch, DropReason } from '../batch/batch.ts'
import type { Delivery, DeliveryOutcome, Exporter, Processor } from '../component.ts'
import { countOf, rejectedCount, type Outcome } from '../consumer.ts'
import { faultOf } from '../fault.ts'
import type { Counter, Labels, Meter } from './meter.ts'
import { noteCounted, refusalCounter } from './refusals.ts'
import { traced, type Tracing } from './traced.ts'

/**
 * Components are counted by the runtime, which wraps them on every edge of the graph; they have no such counters of
 * their own (design section 3). Everything here costs per batch, never per span.
 */
export interface ObserveOptions {
  /** Unix ms; default `Date.now`. */
  readonly clock?: () => number
  /** weir's own traces; default none. */
  readonly tracing?: Tracing | undefined
}

/** Counts what a receiver hands on: accepted, refused (the pipeline said no), failed (a bug of ours); and what it refuses itself. */
export function observeReceiver(next: Entry, id: string, meter: Meter, options: ObserveOptions = {}): Entry {
  const accepted = meter.counter('otelcol_receiver_accepted_spans')
  const refused = meter.counter('otelcol_receiver_refused_spans')
  const failed = meter.counter('otelcol_receiver_failed_spans')
  const requests = meter.counter('otelcol_receiver_requests')
  const labelsOf = transportLabels(id)
  const span = `receiver/${id}`
  const turnedAway = turnAwayCounter(requests, id)
  return {
    get authenticated() {
      return next.authenticated === true
    },
    get lookback() {
      return next.lookback
    },
    get redact() {
      return next.redact
    },
    refused: refusalCounter(meter.counter('weir_receiver_refused_requests'), id),
    admit(head) {
      try {
        const admitted = next.admit(head)
        return admitted instanceof Promise ? admitted.catch((error) => turnedAway(head, error)) : admitted
      } catch (error) {
        return turnedAway(head, error)
      }
    },
    /** No async function: its state took as much memory as all else that a small request needs here. */
    consume(batch, signal) {
      const labels = labelsOf(batch.meta.source)
      const spans = batch.live
      const taken = (outcome: Outcome): Outcome => {
        const rejected = rejectedCount(outcome)
        accepted.add(spans - rejected, labels.base)
        if (rejected > 0) refused.add(rejected, labels.base)
        requests.add(1, labels.success)
        return outcome
      }
      const turnedDown = (error: unknown): never => {
        const fault = faultOf(error)
        const counter = fault === undefined ? failed : refused
        counter.add(spans, labels.base)
        requests.add(1, fault === undefined ? labels.failure : labels.refused)
        noteCounted(error)
        throw error
      }
      const consume = () => next.consume(batch, signal)
      return begun(() => traced(options.tracing, span, [batch], consume)).then(taken, turnedDown)
    },
  }
}

/** What it throws, too, is what its promise rejects with. */
function begun<R>(work: () => Promise<R>): Promise<R> {
  try {
    return work()
  } catch (error) {
    return Promise.reject(error)
  }
}

/** Counts a request that was not admitted, and throws what it was told. */
function turnAwayCounter(requests: Counter, receiver: string) {
  return ({ transport }: Head, error: unknown): never => {
    requests.add(1, { receiver, transport, outcome: faultOf(error) === undefined ? 'failure' : 'refused' })
    noteCounted(error)
    throw error
  }
}

/** Counts spans in and out of a processor, its time, and what it left out with the reason. */
export function observeProcessor(processor: Processor, id: string, meter: Meter): Processor {
  const incoming = meter.counter('otelcol_processor_incoming_items')
  const outgoing = meter.counter('otelcol_processor_outgoing_items')
  const duration = meter.histogram('otelcol_processor_internal_duration')
  const labels: Labels = { processor: id, otel_signal: 'traces' }
  const dropped = dropCounter(meter, id)
  return {
    ...lifecycle(processor),
    ...(processor.admit === undefined ? {} : { admit: processor.admit.bind(processor) }),
    ...(processor.settle === undefined ? {} : { settle: processor.settle.bind(processor) }),
    ...(processor.redacts === true && { redacts: true }),
    async process(batch) {
      incoming.add(batch.live, labels)
      const before = new Map(batch.drops())
      const started = performance.now()
      const outcome = await processor.process(batch)
      duration.observe((performance.now() - started) / 1000, labels)
      const rejected = outcome === undefined ? 0 : liveRejected(batch, outcome)
      outgoing.add(batch.live - rejected, labels)
      dropped(before, batch)
      if (rejected > 0) dropped.add('rejected', rejected)
      return outcome
    },
  }
}

/**
 * Counts what an exporter sent and what its destination will never take. A refused delivery of several spans is no
 * loss yet behind a WAL, whose reader bisects it; without one (`bisected: false`) it is.
 */
export function observeExporter(
  exporter: Exporter,
  id: string,
  meter: Meter,
  options: ObserveOptions & { readonly bisected?: boolean } = {},
): Exporter {
  const watch = new ExportWatch(id, meter, options)
  const { batching, queryable, recheck, keepsNothing } = exporter
  const deliver = exporter.deliver?.bind(exporter)
  const stage = exporter.stage?.bind(exporter)
  return {
    ...lifecycle(exporter),
    ...(batching === undefined ? {} : { batching }),
    ...(queryable === undefined ? {} : { queryable }),
    ...(recheck === undefined ? {} : { recheck }),
    ...(stage === undefined ? {} : { stage }),
    ...(keepsNothing === undefined ? {} : { keepsNothing }),
    consume: (batch, signal) => watch.run([batch], () => exporter.consume(batch, signal), rejectedCount),
    ...(deliver === undefined
      ? {}
      : {
          deliver: (delivery: Delivery, signal: AbortSignal) =>
            watch.run(delivery.batches, () => deliver(delivery, signal), deliveryRejected),
        }),
  }
}

class ExportWatch {
  readonly #labels: Labels
  readonly #id: string
  readonly #clock: () => number
  readonly #options: ObserveOptions & { readonly bisected?: boolean }
  readonly #meter: Meter
  readonly #dropped: ReturnType<typeof dropCounter>
  #inFlight = 0

  constructor(id: string, meter: Meter, options: ObserveOptions & { readonly bisected?: boolean }) {
    this.#id = id
    this.#labels = { exporter: id }
    this.#options = options
    this.#clock = options.clock ?? Date.now
    this.#meter = meter
    this.#dropped = dropCounter(meter, id)
  }

  async run<R>(
    batches: readonly Batch[],
    send: () => Promise<R>,
    rejectedOf: (result: R) => number,
  ): Promise<R> {
    const before = batches.map((batch) => new Map(batch.drops()))
    const spans = liveSpans(batches)
    this.#flight(1)
    try {
      const result = await traced(this.#options.tracing, `exporter/${this.#id}`, batches, send)
      batches.forEach((batch, index) => this.#dropped(before[index] ?? new Map(), batch))
      this.#sent(batches, spans, liveSpans(batches), rejectedOf(result))
      return result
    } catch (error) {
      this.#failed(error, spans)
      throw error
    } finally {
      this.#flight(-1)
    }
  }

  #flight(change: number): void {
    this.#inFlight += change
    this.#meter.gauge('otelcol_exporter_in_flight_requests').set(this.#inFlight, this.#labels)
  }

  #sent(batches: readonly Batch[], offered: number, live: number, rejected: number): void {
    this.#meter.histogram('otelcol_exporter_queue_batch_send_size').observe(offered, this.#labels)
    this.#meter.counter('otelcol_exporter_sent_spans').add(Math.max(0, live - rejected), this.#labels)
    if (rejected > 0) this.#meter.counter('otelcol_exporter_send_failed_spans').add(rejected, this.#labels)
    const now = this.#clock()
    const age = this.#meter.histogram('weir_end_to_end_seconds')
    for (const batch of batches) {
      age.observe(Math.max(0, now - batch.meta.receivedAtMs) / 1000, this.#labels)
    }
  }

  #failed(error: unknown, spans: number): void {
    const fault = faultOf(error)
    if (fault?.verdict.do === 'reject' && (spans === 1 || this.#options.bisected === false)) {
      this.#meter.counter('otelcol_exporter_send_failed_spans').add(spans, this.#labels)
    } else if (fault?.verdict.do !== 'reject') {
      this.#meter.counter('weir_export_retries').add(1, { ...this.#labels, code: fault?.code ?? 'INTERNAL' })
    }
  }
}

function deliveryRejected(outcome: DeliveryOutcome): number {
  let count = 0
  for (const { rejection } of outcome.rejected) count += countOf(rejection)
  return count
}

function liveSpans(batches: readonly Batch[]): number {
  let count = 0
  for (const batch of batches) count += batch.live
  return count
}

function liveRejected(batch: Batch, outcome: Outcome): number {
  let count = 0
  for (const rejection of outcome.rejected) {
    for (const row of rejection.rows) if (batch.isLive(row)) count++
  }
  return count
}

/** Counts what was dropped since `before`. */
function dropCounter(meter: Meter, component: string) {
  const counter = meter.counter('weir_dropped_spans')
  const add = (reason: DropReason, count: number) => counter.add(count, { reason, component })
  const since = (before: ReadonlyMap<DropReason, number>, batch: Batch) => {
    for (const [reason, count] of batch.drops()) {
      const fresh = count - (before.get(reason) ?? 0)
      if (fresh > 0) add(reason, fresh)
    }
  }
  return Object.assign(since, { add })
}

function lifecycle(component: Processor | Exporter) {
  return {
    ...(component.start === undefined ? {} : { start: component.start.bind(component) }),
    ...(component.stop === undefined ? {} : { stop: component.stop.bind(component) }),
    ...(component.probe === undefined ? {} : { probe: component.probe.bind(component) }),
  }
}

interface TransportLabels {
  readonly base: Labels
  readonly success: Labels
  readonly refused: Labels
  readonly failure: Labels
}

/** Label sets by `meta.source` (`<receiver id>/<transport>`); there are as many as the receiver has transports. */
function transportLabels(receiver: string): (source: string) => TransportLabels {
  const known = new Map<string, TransportLabels>()
  return (source) => {
    const found = known.get(source)
    if (found !== undefined) return found
    const transport = source.startsWith(`${receiver}/`) ? source.slice(receiver.length + 1) : source
    const base = { receiver, transport }
    const made = {
      base,
      success: { ...base, outcome: 'success' },
      refused: { ...base, outcome: 'refused' },
      failure: { ...base, outcome: 'failure' },
    }
    known.set(source, made)
    return made
  }
}
