import type { KeptCall } from './cache.ts'
import type { PlannedCall, Reply, Source } from './plan.ts'

/** Answers from what was kept: by the key of the request, and its occurrence in the run. */
export class CacheSource implements Source {
  readonly from = 'cache'
  readonly #calls: ReadonlyMap<string, KeptCall>
  readonly #reason: string

  /** `reason`: why nothing is kept, where nothing is. */
  constructor(kept: readonly KeptCall[], reason: string) {
    this.#calls = new Map(kept.map((call) => [placeOf(call.kind, call.key, call.occurrence), call]))
    this.#reason = reason
  }

  answer({ step, occurrence }: PlannedCall): Reply {
    const { replayKey: key } = step
    if (key === undefined) {
      return {
        missing: 'the call has no replay key: nobody had agreed when it came, or replay_cache was not there',
      }
    }
    const kept = this.#calls.get(placeOf(step.kind === 'tool' ? 'tool' : 'llm', key, occurrence))
    if (kept === undefined) return { missing: this.#reason }
    return { answer: kept.answer }
  }
}

function placeOf(kind: string, key: string, occurrence: number): string {
  return `${kind} ${key} ${occurrence}`
}
