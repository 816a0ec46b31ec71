import * as fc from 'fast-check'
import type { AttrRef, AttrValue, Batch } from '../../pipeline/batch/batch.ts'
import { keyId } from '../../pipeline/batch/keys.ts'
import type { Attribute, Row, Value } from './naive.ts'

/** An edit with its target as fractions of what there is, so that one list fits any batch. */
export interface Edit {
  readonly op: 'name' | 'traceState' | 'message' | 'eventName' | 'set' | 'setValue' | 'remove' | 'drop'
  readonly at: number
  readonly which: number
  readonly key: string
  readonly value: AttrValue
}

export const edits: fc.Arbitrary<Edit[]> = fc.array(
  fc.record({
    op: fc.constantFrom(
      'name',
      'traceState',
      'message',
      'eventName',
      'set',
      'setValue',
      'setValue',
      'remove',
      'drop',
    ),
    at: fc.double({ min: 0, max: 0.999999, noNaN: true }),
    which: fc.double({ min: 0, max: 0.999999, noNaN: true }),
    key: fc.constantFrom('a', 'ab', 'gen_ai.request.model', 'new.key', 'k'.repeat(300), ''),
    value: fc.oneof(
      fc.string({ unit: 'binary', maxLength: 300 }),
      fc.integer(),
      fc.double(),
      fc.boolean(),
      fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
      fc.array(fc.string({ maxLength: 9 }), { maxLength: 3 }),
    ),
  }),
  { maxLength: 12 },
)

/** Applies the edits to the batch and, by plain means, to the oracle's rows; returns the rows that remain. */
export function apply(batch: Batch, rows: Row[], list: readonly Edit[]): Row[] {
  if (rows.length === 0) return []
  const dropped = new Set<number>()
  for (const edit of list) {
    const row = Math.floor(edit.at * rows.length)
    if (edit.op === 'drop') {
      batch.drop(row, 'sampled')
      dropped.add(row)
    } else editRow(batch, rows, row, edit)
  }
  return rows.filter((_, row) => !dropped.has(row))
}

function editRow(batch: Batch, rows: Row[], row: number, edit: Edit): void {
  const model = rows[row]!
  const text = String(edit.value).toWellFormed()
  switch (edit.op) {
    case 'name':
      batch.setName(row, text)
      model.name = text
      return
    case 'traceState':
      batch.setTraceState(row, text)
      model.traceState = text
      return
    case 'message':
      batch.setStatusMessage(row, text)
      model.statusMessage = text
      return
    case 'eventName': {
      if (model.events.length === 0) return
      const event = Math.floor(edit.which * model.events.length)
      batch.setEventName(batch.events(row).first + event, text)
      model.events[event]!.name = text
      return
    }
    case 'set': {
      batch.set(row, keyId(edit.key), edit.value)
      const known = model.attributes.find((one) => one.key === edit.key)
      if (known === undefined) model.attributes.push({ key: edit.key, value: valueOf(edit.value) })
      else known.value = valueOf(edit.value)
      return
    }
    case 'remove':
      batch.remove(row, keyId(edit.key))
      model.attributes = model.attributes.filter((one) => one.key !== edit.key)
      return
    case 'setValue':
      setSome(batch, rows, row, edit)
      return
    case 'drop':
      throw new Error('drops are applied by the caller')
  }
}

/** Replaces one attribute of any place that the span has. */
function setSome(batch: Batch, rows: Row[], row: number, edit: Edit): void {
  const places: [number, number, (one: Row) => Attribute[]][] = []
  const resource = batch.attrs(row, 'resource')
  const scope = batch.attrs(row, 'scope')
  places.push([resource.first, resource.end, (one) => one.resourceAttributes])
  places.push([scope.first, scope.end, (one) => one.scopeAttributes])
  for (let i = 0; i < rows[row]!.events.length; i++) {
    const range = batch.eventAttrs(batch.events(row).first + i)
    places.push([range.first, range.end, (one) => one.events[i]!.attributes])
  }
  for (let i = 0; i < rows[row]!.links.length; i++) {
    const range = batch.linkAttrs(batch.links(row).first + i)
    places.push([range.first, range.end, (one) => one.links[i]!.attributes])
  }
  const filled = places.filter(([first, end]) => end > first)
  if (filled.length === 0) return
  const [first, end, pick] = filled[Math.floor(edit.which * filled.length)]!
  const index = Math.floor(edit.at * (end - first))
  batch.setValue((first + index) as AttrRef, edit.value)
  for (let other = 0; other < rows.length; other++) {
    if (other === row || sharesPlace(batch, row, other, first)) {
      pick(rows[other]!)[index]!.value = valueOf(edit.value)
    }
  }
}

/** True when the range that starts at `first` is the other row's resource or scope as well. */
function sharesPlace(batch: Batch, row: number, other: number, first: number): boolean {
  for (const place of ['resource', 'scope'] as const) {
    const mine = batch.attrs(row, place)
    const its = batch.attrs(other, place)
    if (mine.first === first && mine.end > first && its.first === first && its.end === mine.end) return true
  }
  return false
}

function valueOf(value: AttrValue): Value {
  if (typeof value === 'string') return [1, value.toWellFormed()]
  if (typeof value === 'boolean') return [2, value]
  if (typeof value === 'bigint') return [3, value]
  if (typeof value === 'number') return Number.isSafeInteger(value) ? [3, BigInt(value)] : [4, value]
  return [5, value.map((item): Value => [1, item])]
}
