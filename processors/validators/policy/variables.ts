import { ATTR, NONE, type AttrRef, type Batch } from '../../../pipeline/batch/batch.ts'
import { TOKENS } from '../../../pipeline/batch/facts.ts'
import { keyId, type KeyId } from '../../../pipeline/batch/keys.ts'
import { factsOf } from '../../../pipeline/genai/facts-of.ts'
import { textsOf } from '../texts.ts'
import type { Reference } from './expression.ts'

/** Values as CEL has them: int is a bigint, double a number. */
type Value = string | number | bigint | boolean | readonly string[]

/** Longer texts are cut, longer lists too, so that no rule is slow. */
const MOST_TEXT = 64 * 1024
const MOST_ITEMS = 100

const STATUS = ['unset', 'ok', 'error']

/** The fields of `span`, by the names that `expression.ts` lists. */
const FIELDS: Readonly<Record<string, (batch: Batch, row: number) => Value>> = {
  name: (batch, row) => batch.name(row),
  status: (batch, row) => STATUS[batch.statusCode(row)] ?? 'unset',
  status_message: (batch, row) => cut(batch.statusMessage(row)),
  duration_ms: (batch, row) => Number(batch.durationNs(row)) / 1e6,
  bytes: (batch, row) => BigInt(batch.spanSize(row)),
  operation: (batch, row) => factsOf(batch).operation.at(row),
  provider: (batch, row) => factsOf(batch).provider.at(row),
  model: (batch, row) => factsOf(batch).responseModel.at(row) || factsOf(batch).requestModel.at(row) || '',
  agent: (batch, row) => factsOf(batch).agentName.at(row),
  tool: (batch, row) => factsOf(batch).toolName.at(row),
  user: (batch, row) => factsOf(batch).userId.at(row),
  session: (batch, row) => factsOf(batch).sessionId.at(row),
  input_tokens: (batch, row) => tokens(batch, row, true),
  output_tokens: (batch, row) => tokens(batch, row, false),
}

function tokens(batch: Batch, row: number, isInput: boolean): bigint {
  const { tokens: counts } = factsOf(batch)
  let sum = 0
  for (const [index, name] of TOKENS.entries()) {
    const isOutput = name.includes('Output') || name.startsWith('Reasoning')
    if (isOutput !== isInput) sum += counts[row * TOKENS.length + index] ?? 0
  }
  return BigInt(sum)
}

function cut(text: string): string {
  return text.length > MOST_TEXT ? text.slice(0, MOST_TEXT) : text
}

interface Source {
  readonly place: 'span' | 'resource'
  readonly key: KeyId
  readonly name: string
  readonly isNeeded: boolean
}

/** What a rule reads of a span, and nothing else: filled anew for each row, in the same maps. */
export class SpanVariables {
  readonly context = {
    span: new Map<string, Value>(),
    attributes: new Map<string, Value>(),
    resource: new Map<string, Value>(),
  }
  readonly #sources: readonly Source[]
  readonly #fields: readonly (readonly [name: string, read: (batch: Batch, row: number) => Value])[]

  constructor(references: readonly Reference[]) {
    this.#sources = references
      .filter(({ variable }) => variable !== 'span')
      // What must be there first: most spans do not have it.
      .toSorted((a, b) => Number(b.isNeeded) - Number(a.isNeeded))
      .map(({ variable, key, isNeeded }) => {
        return { place: variable === 'resource' ? 'resource' : 'span', key: keyId(key), name: key, isNeeded }
      })
    this.#fields = references.flatMap(({ variable, key }) => {
      const read = variable === 'span' ? FIELDS[key] : undefined
      return read === undefined ? [] : [[key, read] as const]
    })
  }

  /** False where something is absent without which the rule cannot be true. */
  fill(batch: Batch, row: number): boolean {
    for (const { place, key, name, isNeeded } of this.#sources) {
      const ref = place === 'span' ? batch.attr(row, key) : batch.resourceAttr(row, key)
      const values = place === 'span' ? this.context.attributes : this.context.resource
      if (ref !== NONE) values.set(name, valueOf(batch, ref))
      else if (isNeeded) return false
      else values.delete(name)
    }
    for (const [name, read] of this.#fields) this.context.span.set(name, read(batch, row))
    return true
  }
}

function valueOf(batch: Batch, ref: AttrRef): Value {
  const type = batch.type(ref)
  if (type === ATTR.bool) return batch.text(ref) === 'true'
  if (type === ATTR.int) return BigInt(batch.text(ref))
  if (type === ATTR.double) return batch.number(ref)
  if (type === ATTR.array) return textsOf(batch, ref, MOST_ITEMS)
  return cut(batch.text(ref))
}
