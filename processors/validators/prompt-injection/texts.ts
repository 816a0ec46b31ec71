import { ATTR, NONE, type Batch } from '../../../pipeline/batch/batch.ts'
import { keyId, keyName, type KeyId } from '../../../pipeline/batch/keys.ts'
import type { RawView } from '../../../pipeline/batch/raw.ts'
import { operationOf } from '../../../pipeline/genai/kind.ts'
import { Scan } from '../../../pipeline/genai/scan.ts'
import { ATTR_AT, EVENT, foreignKey } from '../../../proto/otlp/table.ts'
import type { InjectionDetector } from '../text/injection.ts'
import { roleSource, type Source } from './messages.ts'
import { Places, type Known } from './places.ts'

/** A value that must be looked at. */
export interface Found {
  readonly value: string
  /** Of what in it says nothing about itself. */
  readonly source: Source
  /** The attribute, or the event. */
  readonly key: string
}

const TOON_TYPE = keyId('toon.type')
const TOON_ACTOR = keyId('toon.actor')
/** `[{"` and the like: what messages begin with. */
const BRACKET = 91
const BRACE = 123
const SHORTEST = 12

const EVENTS: ReadonlyMap<string, Source> = new Map<string, Source>([
  ['gen_ai.user.message', 'user'],
  ['gen_ai.content.prompt', 'user'],
  ['gen_ai.tool.message', 'tool'],
  ['gen_ai.assistant.message', 'model'],
  ['gen_ai.choice', 'model'],
  ['gen_ai.content.completion', 'model'],
])

/** Finds the texts of a span that could hold an attack, from the wire's bytes: what could not is never decoded. */
export class TextFinder {
  readonly #detector: InjectionDetector
  readonly #places = new Places()
  readonly #scan = new Scan()

  constructor(detector: InjectionDetector) {
    this.#detector = detector
  }

  /** `row`: the batch's; `first` to `end`: attributes of the view's table. */
  attributes(
    batch: Batch,
    view: RawView,
    row: number,
    first: number,
    end: number,
    each: (found: Found) => void,
  ): void {
    const { attrs } = view.table
    for (let at = first * ATTR_AT.width; at < end * ATTR_AT.width; at += ATTR_AT.width) {
      const len = attrs[at + ATTR_AT.len]!
      if (len < SHORTEST) continue
      const key = attrs[at + ATTR_AT.key]!
      const known = key > 0 ? this.#places.of(key) : this.#places.named(foreignName(view, key))
      if (known === undefined) continue
      const type = attrs[at + ATTR_AT.type]!
      const off = attrs[at + ATTR_AT.off]!
      if (type === ATTR.string && !this.#mayHold(view, off, len, known)) continue
      const source = this.#sourceOf(batch, row, known)
      if (source === 'none') continue
      const name = key > 0 ? keyName(key as KeyId) : foreignName(view, key)
      const value =
        type === ATTR.string ? view.bytes.toString('utf8', off, off + len) : nested(batch, row, key)
      each({ value, source, key: name })
    }
  }

  /** `first` to `end`: events of the view's table. */
  events(view: RawView, first: number, end: number, each: (found: Found) => void): void {
    const { events, attrs } = view.table
    for (let at = first * EVENT.width; at < end * EVENT.width; at += EVENT.width) {
      const nameAt = events[at + EVENT.nameOff]!
      const key = view.bytes.toString('utf8', nameAt, nameAt + events[at + EVENT.nameLen]!)
      const source = EVENTS.get(key)
      if (source === undefined) continue
      for (let attr = events[at + EVENT.firstAttr]!; attr < events[at + EVENT.endAttr]!; attr++) {
        const base = attr * ATTR_AT.width
        const off = attrs[base + ATTR_AT.off]!
        const len = attrs[base + ATTR_AT.len]!
        if (attrs[base + ATTR_AT.type] !== ATTR.string || len < SHORTEST) continue
        if (this.#detector.mayHold(view.bytes, off, off + len, 'any'))
          each({ value: view.bytes.toString('utf8', off, off + len), source, key })
      }
    }
  }

  /** What is plain text of the user is judged as such; all else may have parts from elsewhere. */
  #mayHold({ bytes }: RawView, off: number, len: number, { place, role }: Known): boolean {
    const isMessages = bytes[off] === BRACKET || bytes[off] === BRACE
    const isDirect = (place === 'user' || place === 'input') && role === undefined && !isMessages
    return this.#detector.mayHold(bytes, off, off + len, isDirect ? 'direct' : 'any')
  }

  #sourceOf(batch: Batch, row: number, { place, role }: Known): Source {
    if (place === 'payload') return payloadSource(batch, row)
    if (place === 'input' || place === 'output') return this.#byOperation(batch, row, place)
    if (role === undefined) return place
    const ref = batch.attr(row, role)
    return ref === NONE ? place : (roleSource(batch.text(ref)) ?? place)
  }

  /** The input of a tool is what the model gave it: not judged here. */
  #byOperation(batch: Batch, row: number, place: 'input' | 'output'): Source {
    const operation = this.#scan.read(batch, row) ? operationOf(this.#scan) : ''
    const isDocument = operation === 'retrieval' || operation === 'rerank'
    if (isDocument || operation === 'execute_tool') {
      if (place === 'input') return 'none'
      return isDocument ? 'document' : 'tool'
    }
    return place === 'input' ? 'user' : 'model'
  }
}

/** Agent events: who acts, and what kind of event it is. */
function payloadSource(batch: Batch, row: number): Source {
  const type = textAt(batch, row, TOON_TYPE)
  if (type === 'action_response' || type === 'error') return 'tool'
  const actor = textAt(batch, row, TOON_ACTOR)
  if (actor === 'user' || actor === 'redteam') return 'user'
  if (actor === 'tool') return 'tool'
  return type === 'final_output' ? 'model' : 'none'
}

function textAt(batch: Batch, row: number, key: KeyId): string {
  const ref = batch.attr(row, key)
  return ref === NONE ? '' : batch.word(ref)
}

/** A list or map, as JSON. */
function nested(batch: Batch, row: number, key: number): string {
  const ref = key > 0 ? batch.attr(row, key as KeyId) : NONE
  return ref === NONE ? '' : batch.text(ref)
}

function foreignName({ bytes }: RawView, key: number): string {
  const [off, len] = foreignKey(bytes, key)
  return bytes.toString('utf8', off, off + len)
}
