import { asObject } from '../../genai/json.ts'
import { canonical } from '../canonical.ts'
import type { Recorded, Step } from '../steps.ts'
import type { Mark } from './align.ts'
import { isMasked, withoutPseudonyms } from './masked.ts'
import type { Profile } from './profile.ts'

/** A recorded value as a comparison sees it. */
export interface Side {
  /** Without what the profile ignores. */
  readonly value: unknown
  readonly canonical: string
  /** Keyed hash of what was masked in it; '' where nothing was, or none was kept. */
  readonly hash: string
}

/** A step as a comparison sees it. */
export interface StepView {
  readonly step: Step
  readonly input: Side | undefined
  readonly output: Side | undefined
  readonly mark: Mark
}

/** `same`: equal, as far as can be told. `redacted`: what differs was taken out by redaction; which values they were is not known. */
export type Verdict = 'same' | 'changed' | 'redacted'

export function viewOf(step: Step, profile: Profile): StepView {
  // The replay key is of the request alone, as it was before redaction.
  const key = step.replayKey
  const asked = step.input && key !== undefined ? { value: step.input.value, redactionHash: key } : step.input
  const input = sideOf(asked, step, profile)
  const output = sideOf(step.output, step, profile)
  const what = step.kind === 'tool' ? input : output
  return { step, input, output, mark: markOf(step, what) }
}

export function sideOf(
  recorded: Recorded | undefined,
  step: Pick<Step, 'kind' | 'name'>,
  profile: Profile,
): Side | undefined {
  if (recorded === undefined) return undefined
  const value = profile.of(step, recorded.value)
  const text = canonical(value)
  // The hash is over the whole span: where nothing of this value was masked it says nothing about it.
  return { value, canonical: text, hash: isMasked(text) ? (recorded.redactionHash ?? '') : '' }
}

export function verdictOf(a: Side | undefined, b: Side | undefined): Verdict | undefined {
  if (a === undefined && b === undefined) return undefined
  if (a === undefined || b === undefined) return 'changed'
  if (a.canonical === b.canonical) return a.hash === b.hash ? 'same' : 'redacted'
  return withoutPseudonyms(a.canonical) === withoutPseudonyms(b.canonical) ? 'redacted' : 'changed'
}

const MAX_PARTS = 32

/** A tool call is what it was called with, anything else what came out of it. */
function markOf(step: Step, what: Side | undefined): Mark {
  const isNamed = step.kind === 'tool' || step.kind === 'error'
  const key = [isNamed ? '' : step.name, what?.canonical ?? '', what?.hash ?? ''].join('\0')
  const group = step.kind === 'llm' ? `llm\0${step.operation}` : step.kind
  return { group: isNamed ? `${step.kind}\0${step.name}` : group, key, parts: partsOf(what?.value) }
}

function partsOf(value: unknown): ReadonlySet<string> {
  const members = Array.isArray(value) ? Object.entries(value) : Object.entries(asObject(value) ?? {})
  return new Set(members.slice(0, MAX_PARTS).map(([key, item]) => `${key}\0${canonical(item)}`))
}
