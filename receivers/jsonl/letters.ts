import type { Context } from '../../pipeline/factory.ts'
import { DeadLetters, type NewDeadLetter } from '../../pipeline/wal/dead-letter.ts'
import { LetterDesk } from '../../pipeline/wal/letter-desk.ts'

/** Lines next to each other that cannot be read for one reason. */
export interface Unreadable {
  readonly offset: number
  length: number
  lines: number
  readonly reason: string
  sha256: string
}

export interface LetterPlace {
  readonly tenant: string
  readonly project: string
  readonly principal: string
  readonly file: string
  readonly fileId: string
  readonly receivedAtMs: number
}

/** Dead letters of lines: where they stand and why, never what they say. */
export class LineLetters {
  readonly #letters: DeadLetters
  readonly #context: Context

  constructor(context: Context, maxBytes: number) {
    this.#context = context
    const { state, meter, clock } = context
    this.#letters = new DeadLetters({ connector: connectorOf(context.id), state, meter, clock, maxBytes })
  }

  /** Listed and purged there; there is nothing that could be sent again. */
  desk(): LetterDesk {
    const { id, state } = this.#context
    return new LetterDesk({ connector: connectorOf(id), letters: this.#letters, state })
  }

  /** Resolves once all are durable. */
  async put(place: LetterPlace, unreadable: readonly Unreadable[]): Promise<void> {
    if (unreadable.length === 0) return
    const { id, meter, log } = this.#context
    await this.#letters.put(unreadable.map((each) => letterOf(id, place, each)))
    const lines = unreadable.reduce((sum, each) => sum + each.lines, 0)
    meter.counter('weir_jsonl_unreadable_lines').add(lines, { receiver: id })
    const [first] = unreadable
    log.warn({ file: place.file, offset: first?.offset, lines, reason: first?.reason }, 'lines dead-lettered')
  }
}

function connectorOf(receiverId: string): string {
  return `receiver/${receiverId}`
}

function letterOf(component: string, place: LetterPlace, unreadable: Unreadable): NewDeadLetter {
  const { tenant, project, principal, file, fileId, receivedAtMs } = place
  const { offset, length, sha256, reason, lines } = unreadable
  return {
    cursor: '',
    component,
    reason: lines === 1 ? reason : `${reason} (${lines} lines)`,
    tenant,
    project,
    principal,
    source: `${component}/file`,
    receivedAtMs,
    origin: { file, fileId, offset, length, sha256 },
    seq: 0,
    row: 0,
    spans: lines,
    attempts: 1,
    format: 'none',
    body: NOTHING,
  }
}

const NOTHING = new Uint8Array(0)
