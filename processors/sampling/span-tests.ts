import { ATTR, NONE, type AttrRef, type Batch } from '../../pipeline/batch/batch.ts'
import { keyId } from '../../pipeline/batch/keys.ts'
import { reject } from '../../pipeline/fault.ts'
import { factsOf } from '../../pipeline/genai/facts-of.ts'
import { isLinear } from '../../pipeline/linear-regexp.ts'
import type { LeafConfig } from './policy-config.ts'

/** Whether a span is one that a policy looks for. A trace passes when one of its spans does. */
export type SpanTest = (batch: Batch, row: number) => boolean

/** The bits of a Summary. */
const MAX_TESTS = 31

/** The span tests of all policies; equal ones share a bit. */
export class SpanTests {
  readonly tests: SpanTest[] = []
  readonly #known = new Map<string, number>()

  /** The mask of the test's bit. */
  add(what: unknown, make: () => SpanTest): number {
    const id = JSON.stringify(what)
    let bit = this.#known.get(id)
    if (bit === undefined) {
      bit = this.tests.push(make()) - 1
      this.#known.set(id, bit)
    }
    if (bit >= MAX_TESTS) {
      throw reject(
        'CONFIG_INVALID',
        `sampling: at most ${MAX_TESTS} different tests of spans; use regular expressions`,
      )
    }
    return 1 << bit
  }
}

const STATUS = { UNSET: 0, OK: 1, ERROR: 2 } as const

export function hasStatus(codes: readonly (keyof typeof STATUS)[]): SpanTest {
  const wanted = new Set<number>(codes.map((code) => STATUS[code]))
  return (batch, row) => wanted.has(batch.statusCode(row))
}

const ERROR_TYPE = keyId('error.type')

/** An error, or a timeout, which not every sender calls an error. */
export function hasFailed(batch: Batch, row: number): boolean {
  return batch.statusCode(row) === STATUS.ERROR || batch.attr(row, ERROR_TYPE) !== NONE
}

/** A span that took longer than its operation, or its name, may. */
export function isSlow(thresholdMs: number, operations: Readonly<Record<string, number>>): SpanTest {
  const byName = new Map(Object.entries(operations))
  return (batch, row) => {
    const ms = Number(batch.durationNs(row)) / 1e6
    if (byName.size === 0) return ms > thresholdMs
    const operation = factsOf(batch).operation.at(row)
    return ms > (byName.get(batch.name(row)) ?? byName.get(operation) ?? thresholdMs)
  }
}

/** An attribute of the span, else of its resource, that passes. */
function onAttribute(name: string, passes: (batch: Batch, ref: AttrRef) => boolean): SpanTest {
  const key = keyId(name)
  return (batch, row) => {
    const own = batch.attr(row, key)
    if (own !== NONE && passes(batch, own)) return true
    const shared = batch.resourceAttr(row, key)
    return shared !== NONE && passes(batch, shared)
  }
}

export function hasString(block: NonNullable<LeafConfig['string_attribute']>): SpanTest {
  const matches = block.enabled_regex_matching
    ? patterns(block.values, block.cache_max_size)
    : among(block.values)
  return onAttribute(block.key, (batch, ref) => batch.type(ref) === ATTR.string && matches(batch.string(ref)))
}

function among(values: readonly string[]): (text: string) => boolean {
  const wanted = new Set(values)
  return (text) => wanted.has(text)
}

function patterns(values: readonly string[], remembered: number): (text: string) => boolean {
  const compiled = values.map((value) => {
    if (isLinear(value)) return new RegExp(value)
    throw reject(
      'CONFIG_INVALID',
      `sampling: the expression ${JSON.stringify(value)} cannot run in linear time or is none; leave out look-around, back-references and counts over 100`,
    )
  })
  const known = new Map<string, boolean>()
  return (text) => {
    let found = known.get(text)
    if (found === undefined) {
      found = compiled.some((pattern) => pattern.test(text))
      if (known.size >= remembered) known.clear()
      if (remembered > 0 && text.length <= 1024) known.set(text, found)
    }
    return found
  }
}

export function hasNumber(block: NonNullable<LeafConfig['numeric_attribute']>): SpanTest {
  const { key, min_value: min = -Infinity, max_value: max = Infinity } = block
  return onAttribute(key, (batch, ref) => {
    const type = batch.type(ref)
    if (type !== ATTR.int && type !== ATTR.double) return false
    const value = batch.number(ref)
    return value >= min && value <= max
  })
}

export function hasBoolean({ key, value }: NonNullable<LeafConfig['boolean_attribute']>): SpanTest {
  const wanted = String(value)
  return onAttribute(key, (batch, ref) => batch.type(ref) === ATTR.bool && batch.text(ref) === wanted)
}

export function hasState({ key, values }: NonNullable<LeafConfig['trace_state']>): SpanTest {
  const wanted = new Set(values.map((value) => `${key}=${value}`))
  return (batch, row) => {
    const state = batch.traceState(row)
    return state !== '' && state.split(',').some((member) => wanted.has(member.trim()))
  }
}
