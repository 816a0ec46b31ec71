import type { AttrRange, AttrRef, Batch } from '../../pipeline/batch/batch.ts'
import { isContent } from '../../pipeline/genai/content.ts'
import { safeText } from '../../pipeline/telemetry/safe-text.ts'
import type { LimitsConfig } from './config.ts'

export type SpanLimits = LimitsConfig['span']
/** The config key under `span` that a row is over. */
export type SpanRule = keyof SpanLimits

export interface Broken {
  readonly rule: SpanRule
  /** For the sender: what and where, without content. */
  readonly reason: string
}

const MAX_NAME = 100
/** Attributes of content for each other one that is allowed: with 128, the 2048 of a conversation of hundreds of messages. */
const CONTENT = 16

/** Judges single spans. Depth is the decoders' (64, for the whole request). */
export class SpanRules {
  readonly #limits: SpanLimits

  constructor(limits: SpanLimits) {
    this.#limits = limits
  }

  /** The rows over a limit, by what is wrong with them. */
  check(batch: Batch): ReadonlyMap<number, Broken> {
    const broken = new Map<number, Broken>()
    let shared: { readonly at: number; readonly broken: Broken | undefined } | undefined
    for (let row = 0; row < batch.rows; row++) {
      if (!batch.isLive(row)) continue
      const { first: at } = batch.attrs(row, 'scope')
      if (shared?.at !== at) shared = { at, broken: this.#around(batch, row) }
      const found = shared.broken ?? this.#span(batch, row)
      if (found !== undefined) broken.set(row, found)
    }
    return broken
  }

  #around(batch: Batch, row: number): Broken | undefined {
    return (
      this.#attributes(batch, batch.attrs(row, 'resource'), 'resource') ??
      this.#attributes(batch, batch.attrs(row, 'scope'), 'scope')
    )
  }

  #span(batch: Batch, row: number): Broken | undefined {
    const { max_bytes: maxBytes, max_attribute_bytes: maxAttribute } = this.#limits
    const size = batch.spanSize(row)
    if (size > maxBytes) return brokenRule('max_bytes', 'the span has more than', maxBytes, 'bytes')
    const attrs = batch.attrs(row, 'span')
    const wrong = this.#count(batch, attrs, 'span') ?? this.#nested(batch, row, size > maxAttribute)
    if (wrong !== undefined) return wrong
    // No attribute is larger than its span.
    return size > maxAttribute ? this.#sizes(batch, attrs, 'span') : undefined
  }

  #nested(batch: Batch, row: number, mayBeLarge: boolean): Broken | undefined {
    const { max_events: maxEvents, max_links: maxLinks } = this.#limits
    const events = batch.events(row)
    const links = batch.links(row)
    if (events.end - events.first > maxEvents) {
      return brokenRule('max_events', 'the span has more than', maxEvents, 'events')
    }
    if (links.end - links.first > maxLinks) {
      return brokenRule('max_links', 'the span has more than', maxLinks, 'links')
    }
    for (let event = events.first; event < events.end; event++) {
      const wrong = this.#attributes(batch, batch.eventAttrs(event), 'event', mayBeLarge)
      if (wrong !== undefined) return wrong
    }
    for (let link = links.first; link < links.end; link++) {
      const wrong = this.#attributes(batch, batch.linkAttrs(link), 'link', mayBeLarge)
      if (wrong !== undefined) return wrong
    }
    return undefined
  }

  #attributes(batch: Batch, attrs: AttrRange, place: string, mayBeLarge = true): Broken | undefined {
    return this.#count(batch, attrs, place) ?? (mayBeLarge ? this.#sizes(batch, attrs, place) : undefined)
  }

  /** A convention that spreads messages over numbered attributes may have many times as many of those. */
  #count(batch: Batch, { first, end }: AttrRange, place: string): Broken | undefined {
    const { max_attributes: max } = this.#limits
    if (end - first <= max) return undefined
    let count = 0
    for (let ref = first; ref < end; ref++) if (!isContent(batch.key(ref as AttrRef))) count++
    if (count > max) return brokenRule('max_attributes', `the ${place} has more than`, max, 'attributes')
    return end - first - count > CONTENT * max
      ? brokenRule('max_attributes', `the ${place} has more than ${CONTENT} times`, max, 'attributes')
      : undefined
  }

  #sizes(batch: Batch, { first, end }: AttrRange, place: string): Broken | undefined {
    const { max_attribute_bytes: max, max_payload_bytes: maxPayload } = this.#limits
    for (let ref = first; ref < end; ref++) {
      const size = batch.size(ref as AttrRef)
      if (size <= max) continue
      const key = batch.key(ref as AttrRef)
      const content = isContent(key)
      if (content && size <= maxPayload) continue
      const name = safeText(key.slice(0, MAX_NAME))
      return content
        ? brokenRule('max_payload_bytes', `${place} attribute "${name}" has more than`, maxPayload, 'bytes')
        : brokenRule('max_attribute_bytes', `${place} attribute "${name}" has more than`, max, 'bytes')
    }
    return undefined
  }
}

function brokenRule(rule: SpanRule, what: string, max: number, unit: string): Broken {
  return { rule, reason: `limits: ${what} ${max} ${unit} (span.${rule})` }
}
