import { NONE, type AttrRef, type Batch } from '../batch/batch.ts'
import { keyId } from '../batch/keys.ts'
import { own, parseObject } from './json.ts'

/** What only a span's events tell of a model call. */

const FIRST_TOKEN: ReadonlySet<string> = new Set([
  'First Token Stream Event',
  'gen_ai.content.completion.chunk',
  'llm.content.completion.chunk',
])

/** ms from the start to the first event of a stream; 0 when there is none. */
export function firstEventMs(batch: Batch, row: number): number {
  const { first, end } = batch.events(row)
  for (let event = first; event < end; event++) {
    if (!FIRST_TOKEN.has(batch.eventName(event))) continue
    const delay = Number(batch.eventTimeNs(event) - batch.startNs(row)) / 1e6
    return delay > 0 ? delay : 0
  }
  return 0
}

const CHOICE = 'gen_ai.choice'
const REASONS: ReadonlySet<number> = new Set(
  ['finish_reason', 'gen_ai.response.finish_reason'].map((name) => keyId(name)),
)
const BODIES: ReadonlySet<number> = new Set(
  ['gen_ai.event.content', 'event_body', 'body'].map((name) => keyId(name)),
)

/** The last choice's reason to end, in the convention before 1.37; '' when no event tells it. */
export function finishOfChoice(batch: Batch, row: number): string {
  const { first, end } = batch.events(row)
  for (let event = end - 1; event >= first; event--) {
    if (batch.eventName(event) !== CHOICE) continue
    const ref = attrOf(batch, event, REASONS)
    if (ref !== NONE) return batch.text(ref)
    const body = attrOf(batch, event, BODIES)
    const reason = body === NONE ? undefined : own(parseObject(batch.text(body)), 'finish_reason')
    return typeof reason === 'string' ? reason : ''
  }
  return ''
}

function attrOf(batch: Batch, event: number, wanted: ReadonlySet<number>): AttrRef {
  const { first, end } = batch.eventAttrs(event)
  for (let ref = first; ref < end; ref++) if (wanted.has(batch.keyId(ref as AttrRef))) return ref as AttrRef
  return NONE
}
