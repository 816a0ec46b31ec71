import { NONE, type Batch } from '../../pipeline/batch/batch.ts'
import { keyId } from '../../pipeline/batch/keys.ts'
import {
  otOf,
  probabilityOf,
  randomnessOf,
  thresholdOf,
  withThreshold,
} from '../../pipeline/sampling/trace-state.ts'
import type { SamplingConfig } from './config.ts'

const PRIORITY = keyId('sampling.priority')

/**
 * Consistent probability sampling (OTEP 235): every daemon, and every SDK that does alike, keeps the same traces, and who
 * keeps more keeps all that the others keep.
 */
export class HeadSampler {
  readonly #ratio: number
  readonly #threshold: number
  readonly #precision: number
  readonly #proportional: boolean
  readonly #failClosed: boolean
  readonly #scaled = new Map<number, number>()

  constructor(
    percentage: number,
    config: Pick<SamplingConfig, 'mode' | 'sampling_precision' | 'fail_closed'>,
  ) {
    this.#ratio = percentage / 100
    this.#precision = config.sampling_precision
    this.#threshold = this.#ratio === 0 ? Infinity : thresholdOf(this.#ratio, this.#precision)
    this.#proportional = config.mode === 'proportional'
    this.#failClosed = config.fail_closed
  }

  sample(batch: Batch): void {
    for (let row = 0; row < batch.rows; row++) if (batch.isLive(row)) this.#judge(batch, row)
  }

  #judge(batch: Batch, row: number): void {
    const priority = batch.attr(row, PRIORITY)
    if (priority !== NONE) {
      const value = batch.number(priority)
      if (value === 0) return batch.drop(row, 'sampled')
      if (value > 0) return
    }
    const state = batch.traceState(row)
    const { threshold, randomness } = otOf(state)
    const random = randomness ?? randomnessOf(batch.traceId(row))
    if (random === undefined) {
      if (this.#failClosed) batch.drop(row, 'sampled')
      return
    }
    // A threshold that should have kept the span out is a lie: it weighs nothing.
    const before = threshold !== undefined && random >= threshold ? threshold : undefined
    const after = this.#next(before)
    if (random < after) return batch.drop(row, 'sampled')
    if (after !== (threshold ?? 0)) batch.setTraceState(row, withThreshold(state, after))
    if (batch.facts !== undefined) batch.facts.sampleRate[row] = 1 / probabilityOf(after)
  }

  #next(before: number | undefined): number {
    if (before === undefined) return this.#threshold
    if (!this.#proportional) return Math.max(this.#threshold, before)
    let scaled = this.#scaled.get(before)
    if (scaled === undefined) {
      scaled =
        this.#ratio === 0 ? Infinity : thresholdOf(probabilityOf(before) * this.#ratio, this.#precision)
      if (this.#scaled.size >= MOST_SCALED) this.#scaled.clear()
      this.#scaled.set(before, scaled)
    }
    return scaled
  }
}

const MOST_SCALED = 1000
