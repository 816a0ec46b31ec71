import { IdColumn, TextColumn } from './fact-columns.ts'
import type { SpanFacts } from './facts.ts'
import { COSTS, TOKENS } from './facts.ts'

type Column = Uint8Array | Uint32Array | BigInt64Array | Float64Array

/** The facts of these rows, in this order, as columns of their own. */
export function factsOf(facts: SpanFacts, rows: readonly number[]): SpanFacts {
  const picked: Record<string, unknown> = { ...facts, rows: rows.length, memory: undefined }
  for (const [name, value] of Object.entries(facts)) {
    if (value instanceof TextColumn || value instanceof IdColumn) picked[name] = value.pick(rows)
    else if (ArrayBuffer.isView(value)) picked[name] = pick(value as Column, rows, widthOf(name))
    else if (value instanceof Map) picked[name] = pickMap(value as Map<number, unknown>, rows)
  }
  return picked as unknown as SpanFacts
}

function widthOf(name: string): number {
  if (name === 'tokens') return TOKENS.length
  return name === 'cost' ? COSTS.length : 1
}

function pick(column: Column, rows: readonly number[], width: number): Column {
  const picked = column.slice(0, rows.length * width)
  for (let i = 0; i < rows.length; i++) {
    picked.set(column.subarray(rows[i]! * width, (rows[i]! + 1) * width) as never, i * width)
  }
  return picked
}

function pickMap(map: ReadonlyMap<number, unknown>, rows: readonly number[]): Map<number, unknown> {
  const picked = new Map<number, unknown>()
  for (let i = 0; i < rows.length; i++) {
    if (map.has(rows[i]!)) picked.set(i, map.get(rows[i]!))
  }
  return picked
}
