import type { Detectors } from '../detect/registry.ts'
import { FEATURE, type TextFeatures } from '../detect/features.ts'
import type { Finding, Subject } from '../detect/finding.ts'
import { digitWindows } from '../detect/windows.ts'
import type { SensitiveKeys } from '../keys.ts'
import { TYPES } from '../../../pipeline/privacy/pseudonyms.ts'
import { MASKED, WHOLE, type Policy } from '../policy.ts'
import { applyEdits, type Edit, freeOf } from './edits.ts'
import { base64Edits, escapeEdits, percentEdits } from './encoded.ts'
import { walkJson } from './json.ts'
import { insertEdits } from './sql.ts'

/** What became of one value. */
export interface Outcome {
  readonly policy: Policy
  /** Findings that were acted on, by type. */
  readonly counts: Map<string, number>
  /** A finding asks for the whole value to go. */
  isWhole: boolean
}

/** Texts in texts that are followed: each level of JSON doubles its backslashes, each of base64 adds a third. */
const DEEPEST = 24
const PRIORITY = new Map<string, number>(TYPES.map((type, index) => [type, index]))

/** Finds and replaces in one text, and in the texts that it holds. */
export class Scrubber {
  readonly #detectors: Detectors
  readonly #keys: SensitiveKeys

  constructor(detectors: Detectors, keys: SensitiveKeys) {
    this.#detectors = detectors
    this.#keys = keys
  }

  /** The text as it may be kept; undefined when it may stay as it is. `key`: the name that it stands under. */
  scrub(text: string, key: string, outcome: Outcome): string | undefined {
    const edited = this.#scrub(text, key, outcome, 0)
    if (outcome.isWhole) return WHOLE
    return edited === text ? undefined : edited
  }

  /** A value whose name (or whose sender) says that it is secret. */
  hide(text: string, type: 'sensitive_key' | 'marked', outcome: Outcome): string | undefined {
    if (text === '' || MASKED.test(text) || outcome.policy.mode(type) === 'none') return undefined
    return this.#replace(type, text, outcome)
  }

  /** What the detectors say of a plain text, before anything is done: for measuring them. */
  findings(text: string, policy: Policy): readonly Finding[] {
    const { bits, words } = this.#detectors.features.ofText(text)
    if (bits === 0) return []
    const windows = (bits & FEATURE.digits) === 0 ? [] : digitWindows(text)
    return this.#find({ text, key: '', features: bits, words, windows }, policy)
  }

  #replace(type: string, value: string, outcome: Outcome): string {
    outcome.counts.set(type, (outcome.counts.get(type) ?? 0) + 1)
    if (outcome.policy.mode(type) === 'full') outcome.isWhole = true
    return outcome.policy.replacement(type, value)
  }

  #scrub(text: string, key: string, outcome: Outcome, depth: number): string | undefined {
    const seen = this.#detectors.features.ofText(text)
    if (seen.bits === 0) return undefined
    if (depth > DEEPEST) return this.#replace('marked', text, outcome)
    const edits: Edit[] = []
    let plainFrom = 0
    for (const segment of this.#segments(text, outcome, depth)) {
      edits.push(...this.#plain(text, plainFrom, segment.start, key, seen, outcome, depth), ...segment.edits)
      plainFrom = segment.end
    }
    edits.push(...this.#plain(text, plainFrom, text.length, key, seen, outcome, depth))
    return edits.length === 0 ? undefined : applyEdits(text, edits)
  }

  /** The JSON in the text, with its edits. */
  *#segments(
    text: string,
    outcome: Outcome,
    depth: number,
  ): Iterable<Edit & { readonly edits: readonly Edit[] }> {
    OPENING.lastIndex = 0
    for (let open = OPENING.exec(text); open !== null; open = OPENING.exec(text)) {
      const start = open.index + open[0].length - open[0].trimStart().length
      const edits: Edit[] = []
      const counts = new Map(outcome.counts)
      const end = walkJson(text, start, this.#visitor(edits, outcome, depth))
      if (end < 0) {
        outcome.counts.clear()
        for (const [type, count] of counts) outcome.counts.set(type, count)
        OPENING.lastIndex = Math.max(-1 - end, start + 1)
        continue
      }
      OPENING.lastIndex = Math.max(end, start + 1)
      yield { start, end, text: '', edits }
    }
  }

  #visitor(edits: Edit[], outcome: Outcome, depth: number) {
    return {
      string: (value: string, name: string, hidden: boolean) =>
        hidden ? this.hide(value, 'sensitive_key', outcome) : this.#scrub(value, name, outcome, depth + 1),
      number: (written: string, name: string, hidden: boolean) =>
        hidden
          ? this.hide(written, 'sensitive_key', outcome)
          : this.#scrub(written, name, outcome, depth + 1),
      hides: (name: string) => this.#keys.has(name),
      edit: (start: number, end: number, text: string) => void edits.push({ start, end, text }),
    }
  }

  /** Edits in `text[from, to)`, which is no JSON. */
  #plain(
    whole: string,
    from: number,
    to: number,
    key: string,
    ofWhole: TextFeatures,
    outcome: Outcome,
    depth: number,
  ): Edit[] {
    if (from >= to) return []
    const isAll = from === 0 && to === whole.length
    const text = isAll ? whole : whole.slice(from, to)
    const seen = isAll ? ofWhole : this.#detectors.features.ofText(text)
    if (seen.bits === 0) return []
    const subject: Subject = {
      text,
      key: key.toLowerCase(),
      features: seen.bits,
      words: seen.words,
      windows: (seen.bits & FEATURE.digits) === 0 ? [] : digitWindows(text),
    }
    const merged = this.#find(subject, outcome.policy)
    const edits: Edit[] = merged.map(({ start, end, type }) => ({
      start,
      end,
      text: this.#replace(type, text.slice(start, end), outcome),
    }))
    this.#encoded(subject, edits, outcome, depth)
    return from === 0
      ? edits
      : edits.map(({ start, end, text }) => ({ start: start + from, end: end + from, text }))
  }

  #find(subject: Subject, policy: Policy): readonly Finding[] {
    const found: Finding[] = []
    for (const detector of this.#detectors.all) {
      if ((detector.needs & subject.features) !== 0) detector.find(subject, found)
    }
    return found.length === 0 ? found : merged(found.filter(({ type }) => policy.mode(type) !== 'none'))
  }

  /** Texts in other writings, where nothing was found in the writing itself. */
  #encoded({ text, features }: Subject, edits: Edit[], outcome: Outcome, depth: number): void {
    const inner = (decoded: string, key: string): string | undefined =>
      key !== '' && this.#keys.has(key)
        ? this.hide(decoded, 'sensitive_key', outcome)
        : this.#scrub(decoded, key, outcome, depth + 1)
    const add = (more: readonly Edit[]): void => {
      const isFree = freeOf(edits)
      edits.push(...more.filter((edit) => isFree(edit.start, edit.end)))
    }
    if ((features & FEATURE.word) !== 0)
      add(insertEdits(text, this.#keys, (value) => this.hide(value, 'sensitive_key', outcome)))
    if (text.includes('%')) add(percentEdits(text, inner))
    if ((features & FEATURE.escape) !== 0) add(escapeEdits(text, inner))
    if ((features & FEATURE.run) !== 0) add(base64Edits(text, inner, freeOf(edits)))
  }
}

/** An object or list that begins as JSON does, or a text that is one JSON string. */
const OPENING = /^\s*"(?=.*"\s*$)|\{\s{0,64}["}]|\[\s{0,64}["{[\]]/gs

/** Overlapping findings become one, of the type that says most. */
function merged(found: readonly Finding[]): Finding[] {
  const result: Finding[] = []
  for (const finding of found.toSorted((a, b) => a.start - b.start || b.end - a.end)) {
    const last = result.at(-1)
    if (last === undefined || finding.start >= last.end) {
      result.push(finding)
      continue
    }
    const type = (PRIORITY.get(finding.type) ?? 0) < (PRIORITY.get(last.type) ?? 0) ? finding.type : last.type
    result[result.length - 1] = { start: last.start, end: Math.max(last.end, finding.end), type }
  }
  return result
}
