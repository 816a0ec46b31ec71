import { keyName, type KeyId } from '../../../pipeline/batch/keys.ts'
import type { RawView } from '../../../pipeline/batch/raw.ts'
import { ATTR } from '../../../pipeline/batch/batch.ts'
import { ATTR_AT, EVENT, foreignKey, LINK, RESOURCE, SCOPE, SPAN } from '../../../proto/otlp/table.ts'
import { intAt } from '../../../proto/wire.ts'
import type { ByteScanner } from '../detect/byte-scanner.ts'
import { FEATURE, type Features } from '../detect/features.ts'
import type { SensitiveKeys } from '../keys.ts'
import { MARK } from './mark.ts'
import { CleanValues, hasBareNumbers, hasDullRuns } from './clean.ts'

/** What a batch has that must be looked at closely. */
export interface Suspects {
  /** Rows of the view. */
  readonly rows: readonly number[]
  /** Something around the spans: resources, scopes, or bytes that no record lists. */
  readonly around: boolean
  /** Bytes that no record lists may be in any span. */
  readonly hasUnlisted: boolean
}

/** Shorter texts hold nothing: `a@b.c` has five bytes. */
const SHORTEST = 5
/** The smallest number of 12 digits takes this many bytes as a varint. */
const CARD_VARINT = 6

const UNKNOWN = 0
const PLAIN = 1
/** The key says that the value is secret, or marks others. */
const TELLING = 2
/** The key may give digits a meaning. */
const NAMING = 3
const MEANING =
  /phone|mobile|tel|fax|cell|msisdn|whatsapp|contact|ssn|social|tax|tin|pass|pasap|cpf|sin|tfn|bsn|burger|pesel|aadha|uidai|steuer|idnr/i

const NOTHING = new Uint8Array(0)

/** Finds the spans that are not clean, from the wire's bytes: a clean span is not decoded. */
export class SuspectFinder {
  readonly #features: Features
  readonly #keys: SensitiveKeys
  /** True when the scrubber would change the text. */
  readonly #wouldChange: (text: string, key: string) => boolean
  readonly #clean = new CleanValues()
  #verdicts: Uint8Array = new Uint8Array(1 << 15)
  #scan: ByteScanner

  constructor(features: Features, keys: SensitiveKeys, wouldChange: (text: string, key: string) => boolean) {
    this.#features = features
    this.#scan = features.over(NOTHING)
    this.#keys = keys
    this.#wouldChange = wouldChange
  }

  find(view: RawView): Suspects {
    const { table } = view
    this.#scan = this.#features.over(view.bytes)
    const rows: number[] = []
    for (let row = 0; row < table.rows; row++) if (this.#span(view, row)) rows.push(row)
    return { rows, around: table.hasUnlisted || this.#around(view), hasUnlisted: table.hasUnlisted }
  }

  #span(view: RawView, row: number): boolean {
    const { spans } = view.table
    const at = row * SPAN.width
    if (this.#text(view, spans, at + SPAN.nameOff)) return true
    if (spans[at + SPAN.messageLen]! > 0 && this.#text(view, spans, at + SPAN.messageOff)) return true
    if (spans[at + SPAN.stateLen]! > 0 && this.#text(view, spans, at + SPAN.stateOff)) return true
    if (this.#attrs(view, spans[at + SPAN.firstAttr]!, spans[at + SPAN.endAttr]!)) return true
    return this.#events(view, at) || this.#links(view, at)
  }

  #events(view: RawView, at: number): boolean {
    const { spans, events } = view.table
    for (let event = spans[at + SPAN.firstEvent]!; event < spans[at + SPAN.endEvent]!; event++) {
      const base = event * EVENT.width
      if (this.#text(view, events, base + EVENT.nameOff)) return true
      if (this.#attrs(view, events[base + EVENT.firstAttr]!, events[base + EVENT.endAttr]!)) return true
    }
    return false
  }

  #links(view: RawView, at: number): boolean {
    const { spans, links } = view.table
    for (let link = spans[at + SPAN.firstLink]!; link < spans[at + SPAN.endLink]!; link++) {
      const base = link * LINK.width
      if (this.#text(view, links, base + LINK.stateOff)) return true
      if (this.#attrs(view, links[base + LINK.firstAttr]!, links[base + LINK.endAttr]!)) return true
    }
    return false
  }

  #around(view: RawView): boolean {
    const { resources, scopes } = view.table
    for (let at = 0; at < resources.length; at += RESOURCE.width) {
      if (this.#text(view, resources, at + RESOURCE.schemaOff)) return true
      if (this.#attrs(view, resources[at + RESOURCE.firstAttr]!, resources[at + RESOURCE.endAttr]!))
        return true
    }
    for (let at = 0; at < scopes.length; at += SCOPE.width) {
      if (this.#text(view, scopes, at + SCOPE.nameOff) || this.#text(view, scopes, at + SCOPE.versionOff))
        return true
      if (this.#text(view, scopes, at + SCOPE.schemaOff)) return true
      if (this.#attrs(view, scopes[at + SCOPE.firstAttr]!, scopes[at + SCOPE.endAttr]!)) return true
    }
    return false
  }

  #attrs(view: RawView, first: number, end: number): boolean {
    const { attrs } = view.table
    for (let at = first * ATTR_AT.width; at < end * ATTR_AT.width; at += ATTR_AT.width) {
      const type = attrs[at + ATTR_AT.type]!
      if (type === ATTR.bool || type === ATTR.empty) continue
      const key = attrs[at + ATTR_AT.key]!
      const verdict = key > 0 && key < this.#verdicts.length ? this.#verdicts[key]! : UNKNOWN
      const judged = verdict === PLAIN ? PLAIN : this.#judge(view, key)
      if (judged === TELLING) return true
      if (judged === NAMING) {
        if (type !== ATTR.double && this.#named(view, at, key)) return true
        continue
      }
      const len = attrs[at + ATTR_AT.len]!
      if (type === ATTR.int) {
        if (len >= CARD_VARINT && this.#integer(view, attrs[at + ATTR_AT.off]!)) return true
      } else if (type !== ATTR.double && len >= SHORTEST) {
        if (this.#value(view, attrs[at + ATTR_AT.off]!, len, type !== ATTR.string)) return true
      }
    }
    return false
  }

  #judge(view: RawView, key: number): number {
    if (key > 0 && key < this.#verdicts.length && this.#verdicts[key] !== UNKNOWN) return this.#verdicts[key]!
    const name = key > 0 ? keyName(key as KeyId) : foreignName(view, key)
    const verdict = name === MARK || this.#keys.has(name) ? TELLING : MEANING.test(name) ? NAMING : PLAIN
    if (key > 0 && key < this.#verdicts.length) this.#verdicts[key] = verdict
    return verdict
  }

  /** A value whose key takes part in the judgement: decoded each time it has digits or anything else of note. */
  #named(view: RawView, at: number, key: number): boolean {
    const { attrs } = view.table
    const type = attrs[at + ATTR_AT.type]!
    const off = attrs[at + ATTR_AT.off]!
    const end = off + attrs[at + ATTR_AT.len]!
    const name = key > 0 ? keyName(key as KeyId) : foreignName(view, key)
    if (type === ATTR.int) return this.#wouldChange(String(intAt(view.bytes, off)), name)
    if (this.#scan.features(off, end) === 0) return false
    return type !== ATTR.string || this.#wouldChange(view.bytes.toString('utf8', off, end), name)
  }

  /** `records[at]` is an offset, `records[at + 1]` a length. */
  #text(view: RawView, records: Int32Array, at: number): boolean {
    const len = records[at + 1]!
    return len >= SHORTEST && this.#value(view, records[at]!, len, false)
  }

  #integer(view: RawView, off: number): boolean {
    const value = String(intAt(view.bytes, off))
    return value.length >= 12 && value.length <= 19 && /^[2-6]/.test(value) && this.#wouldChange(value, '')
  }

  /** `isNested`: the bytes are of a list or map, or no text at all. */
  #value({ bytes }: RawView, off: number, len: number, isNested: boolean): boolean {
    const features = this.#scan.features(off, off + len)
    if (features === 0) return false
    if (isNested) return features !== FEATURE.run || !hasDullRuns(bytes, off, off + len)
    return this.#isSuspect(bytes, off, len, features)
  }

  #isSuspect(bytes: Buffer, off: number, len: number, suspected: number): boolean {
    if (this.#clean.has(bytes, off, len)) return false
    if (isNothing(bytes, this.#scan, off, len, suspected)) return false
    const text = bytes.toString('utf8', off, off + len)
    const isClean =
      (suspected & FEATURE.word) !== 0 &&
      isNothing(bytes, this.#scan, off, len, this.#features.ofText(text).bits)
    if (!isClean && this.#wouldChange(text, '')) return true
    this.#clean.add(bytes, off, len)
    return false
  }
}

/** What the prefilter saw is digits that are bare, and runs that are dull. */
function isNothing(bytes: Buffer, scan: ByteScanner, off: number, len: number, features: number): boolean {
  if ((features & ~(FEATURE.run | FEATURE.digits)) !== 0) return false
  if ((features & FEATURE.run) !== 0 && !hasDullRuns(bytes, off, off + len)) return false
  return (features & FEATURE.digits) === 0 || hasBareNumbers(bytes, scan, off, off + len)
}

function foreignName(view: RawView, key: number): string {
  const [off, len] = foreignKey(view.bytes, key)
  return view.bytes.toString('utf8', off, off + len)
}
