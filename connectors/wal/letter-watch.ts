import type { Context } from '../../pipeline/factory.ts'
import type { DeadLetters, LetterFigures } from '../../pipeline/wal/dead-letter.ts'

/** Finding the oldest reads all. */
const EVERY_MS = 60_000
const NEARLY_FULL = 0.8

/** Shows what there is of dead letters, and says so when they are about to push each other out. */
export class LetterWatch {
  readonly #letters: DeadLetters
  readonly #context: Context
  readonly #maxBytes: number
  #lookedMs = -Infinity
  #figures: LetterFigures | undefined

  constructor(letters: DeadLetters, context: Context, maxBytes: number) {
    this.#letters = letters
    this.#context = context
    this.#maxBytes = maxBytes
  }

  async look(): Promise<void> {
    const { clock, meter, id: connector } = this.#context
    const now = clock()
    if (now - this.#lookedMs < EVERY_MS) return
    const figures = await this.#letters.figures()
    this.#lookedMs = now
    this.#figures = figures
    const { bytes, letters, oldestMs } = figures
    meter.gauge('weir_dead_letters').set(letters, { connector })
    meter.gauge('weir_dead_letter_bytes').set(bytes, { connector })
    meter.gauge('weir_dead_letter_max_bytes').set(this.#maxBytes, { connector })
    const age = oldestMs === undefined ? 0 : Math.max(0, (now - oldestMs) / 1000)
    meter.gauge('weir_dead_letter_oldest_age_seconds').set(age, { connector })
  }

  degraded(): readonly string[] {
    const { bytes = 0, letters = 0 } = this.#figures ?? {}
    if (bytes <= NEARLY_FULL * this.#maxBytes) return []
    const percent = Math.round((100 * bytes) / this.#maxBytes)
    const { id } = this.#context
    return [
      `${id}: ${letters} dead letters take ${percent} % of dead_letters.max_bytes, and the oldest leave first: see \`weir dlq ls\``,
    ]
  }
}
