import type { StoreChain } from '../factory.ts'
import type { Labels, Meter } from '../telemetry/meter.ts'
import type { CursorRecord } from './cursor-record.ts'
import { imbalance, LEDGER_OUTCOMES, type Ledger } from './ledger.ts'

/** What a cursor shows of itself. */
export class ReaderMetrics {
  readonly #meter: Meter
  readonly #labels: Labels

  constructor(chain: StoreChain, meter: Meter) {
    this.#meter = meter
    this.#labels = { pipeline: chain.pipeline, exporter: chain.exporterId }
  }

  held(held: boolean): void {
    this.#meter.gauge('weir_cursor_held').set(held ? 1 : 0, this.#labels)
  }

  missing(messages: number): void {
    if (messages > 0) this.#meter.counter('weir_wal_missing_messages').add(messages, this.#labels)
  }

  /** Returns the imbalance of the ledger: anything but 0 is a bug. */
  advanced({ ledger, position }: CursorRecord, booked: Ledger): number {
    const labels = this.#labels
    const wrong = imbalance(ledger)
    this.#meter.gauge('weir_cursor_position').set(position - 1, labels)
    this.#meter.gauge('weir_accounting_imbalance_spans').set(wrong, labels)
    const spans = this.#meter.gauge('weir_ledger_spans')
    spans.set(ledger.passed, { ...labels, outcome: 'passed' })
    for (const outcome of LEDGER_OUTCOMES) spans.set(ledger[outcome], { ...labels, outcome })
    if (booked.duplicate > 0) this.#meter.counter('weir_duplicate_spans').add(booked.duplicate, labels)
    return wrong
  }
}
